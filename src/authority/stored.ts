import { X509Certificate } from 'node:crypto';
import { IdentityError, TrustBundle, TrustDomain } from '../identity/index.ts';
import type { CrossCertificate } from './cross.ts';
import { AuthorityError } from './errors.ts';
import type { StoredAuthority, StoredRoot, StoredRotation } from './key-store.ts';

/** Format 1 knew no rotation, and format 2 no root without its key, which is why an earlier version must not read it. */
const READABLE: ReadonlySet<unknown> = new Set([1, 2, 3]);

/** The JSON text in which every store keeps an authority. It holds private keys. */
export function serializeStored(state: StoredAuthority): string {
  const { rotation } = state;
  const keyless = [state.root, rotation?.other].some((root) => root && root.privateKeyPem === undefined);
  const document = {
    format: keyless ? 3 : 2,
    trustDomain: state.trustDomain,
    root: rootToJson(state.root),
    ...(rotation && { rotation: rotationToJson(rotation) }),
    ...(state.crosses && {
      crosses: state.crosses.map(({ of, by, certificate, above }) => ({
        of,
        by,
        certificate: pem(certificate),
        ...(above && { above: above.map(pem) }),
      })),
    }),
    ...(state.takenBack !== undefined && { takenBack: state.takenBack }),
    bundle: TrustBundle.of({ trustDomain: TrustDomain.parse(state.trustDomain), ...state.bundle }),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/**
 * Checks the form. What the certificates and keys are worth is checked by the authority, for every store.
 * @param what begins the message: `The key file ...`
 * @throws AuthorityError `store-corrupted`
 */
export function parseStored(text: string, what: string): StoredAuthority {
  try {
    const document = record(JSON.parse(text));
    if (!READABLE.has(document['format'])) throw new TypeError('it has an unknown format');
    const trustDomain = TrustDomain.parse(textOf(document['trustDomain']));
    const { x509Authorities, sequence, refreshHintSeconds } = TrustBundle.parse(
      trustDomain,
      JSON.stringify(document['bundle']),
    );
    const { rotation, crosses, takenBack } = document;
    return {
      trustDomain: trustDomain.name,
      root: rootOf(document['root']),
      ...(rotation !== undefined && { rotation: rotationOf(rotation) }),
      ...(crosses !== undefined && { crosses: listOf(crosses).map(crossOf) }),
      ...(takenBack !== undefined && { takenBack: textOf(takenBack) }),
      bundle: { x509Authorities, sequence, refreshHintSeconds },
    };
  } catch (cause) {
    // JSON.parse quotes what it could not read, and that may be key material.
    const finding = cause instanceof IdentityError ? cause.message : 'it is not what a save writes';
    throw new AuthorityError(
      'store-corrupted',
      `${what} is damaged: ${finding}. Restore it from a backup; only if there is none, move it away to begin with a new root, which every workload must then be given.`,
    );
  }
}

function rootToJson({ certificate, privateKeyPem }: StoredRoot): Readonly<Record<string, string>> {
  return {
    certificate: pem(certificate),
    ...(privateKeyPem !== undefined && { privateKey: privateKeyPem }),
  };
}

function pem(certificate: Buffer): string {
  return new X509Certificate(certificate).toString();
}

function crossOf(value: unknown): CrossCertificate {
  const { of, by, certificate, above } = record(value);
  return {
    of: textOf(of),
    by: textOf(by),
    certificate: der(certificate),
    ...(above !== undefined && { above: listOf(above).map(der) }),
  };
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError('not a list');
  return value;
}

function rotationToJson({ step, sinceMs, otherEndsMs, other }: StoredRotation): object {
  return { step, sinceMs, otherEndsMs, other: rootToJson(other) };
}

function rootOf(value: unknown): StoredRoot {
  const root = record(value);
  const { certificate, privateKey } = root;
  return {
    certificate: der(certificate),
    ...(privateKey !== undefined && { privateKeyPem: textOf(privateKey) }),
  };
}

function der(value: unknown): Buffer {
  return new X509Certificate(textOf(value)).raw;
}

function rotationOf(value: unknown): StoredRotation {
  const { step, sinceMs, otherEndsMs, other } = record(value);
  if (step !== 'prepared' && step !== 'activated') throw new TypeError('a rotation has no such step');
  return { step, sinceMs: time(sinceMs), otherEndsMs: time(otherEndsMs), other: rootOf(other) };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new TypeError('not an object');
  return { ...value };
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('not a text');
  return value;
}

function time(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TypeError('not a time');
}
