import { createPublicKey } from 'node:crypto';
import { writeSigningCertificate } from './certificate.ts';
import type { StoredAuthority } from './key-store.ts';
import { randomSerial } from './keys.ts';
import type { Root } from './root.ts';

/**
 * A root's key, certified by another root: who has only the other one can still verify what the first one signs.
 *
 * Envoy's gRPC client reads the file with the control plane's roots once. Without this, an Envoy that runs longer
 * than a rotation would not know its control plane any more.
 */
export interface CrossCertificate {
  /** Fingerprint of the root whose key it is. */
  readonly of: string;
  /** Fingerprint of the root that signed it. */
  readonly by: string;
  /** DER. */
  readonly certificate: Buffer;
}

/** As long as the root that signs it. */
export function crossSign(of: Root, by: Root, uri: string): CrossCertificate {
  const key = createPublicKey(of.issuer.privateKey);
  const certificate = writeSigningCertificate({
    issuer: by.issuer,
    serial: randomSerial(),
    subject: of.issuer.name,
    notBeforeMs: by.notBeforeMs,
    notAfterMs: by.notAfterMs,
    publicKeyInfo: key.export({ format: 'der', type: 'spki' }),
    keyId: of.issuer.keyId,
    uri,
    pathLength: undefined,
  });
  return { of: of.fingerprint, by: by.fingerprint, certificate };
}

/** What leads from the signing root back to its predecessors, nearest first. */
export function crossChain(crosses: StoredAuthority['crosses'] = [], signing: string): readonly Buffer[] {
  const chain: Buffer[] = [];
  // Each is used once, so that a ring ends too.
  const left = [...crosses];
  for (let at = signing; ;) {
    const index = left.findIndex(({ of }) => of === at);
    const [next] = index === -1 ? [] : left.splice(index, 1);
    if (next === undefined) return chain;
    chain.push(next.certificate);
    at = next.by;
  }
}
