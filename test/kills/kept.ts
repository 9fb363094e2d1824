import { createPrivateKey, hash, X509Certificate } from 'node:crypto';
import { expect } from 'vitest';
import { type RotationStep, type StoredAuthority } from '../../src/authority/index.ts';

/** What a store holds, as far as steps of a rotation change it. Roots by the SHA-256 of their certificates. */
export interface Kept {
  readonly step: 'steady' | 'prepared' | 'activated';
  readonly signing: string;
  readonly other: string | undefined;
  readonly sequence: number;
  readonly bundle: readonly string[];
  /** DER. */
  readonly roots: readonly Buffer[];
}

/** Fails where a root that is meant lacks its key, or where the bundle holds another root than those that are meant. */
export function keptOf({ root, rotation, bundle }: StoredAuthority): Kept {
  const meant = [root, ...(rotation === undefined ? [] : [rotation.other])];
  for (const { certificate, privateKeyPem } of meant) {
    const key = createPrivateKey(privateKeyPem ?? '');
    expect(new X509Certificate(certificate).checkPrivateKey(key), 'a root has its key').toBe(true);
  }
  const fingerprints = meant.map(({ certificate }) => hash('sha256', certificate));
  const trusted = bundle.x509Authorities.map((der) => hash('sha256', der));
  expect(trusted.toSorted(), 'the bundle has the roots that are meant').toEqual(fingerprints.toSorted());
  expect(new Set(fingerprints).size, 'they are different roots').toBe(meant.length);
  const [signing = '', other] = fingerprints;
  return {
    step: rotation?.step ?? 'steady',
    signing,
    other,
    sequence: bundle.sequence,
    bundle: trusted,
    roots: bundle.x509Authorities,
  };
}

/** Whether a state is what a step makes of another. @param seen every root that there ever was */
export function isAfter(step: RotationStep, before: Kept, after: Kept, seen: ReadonlySet<string>): boolean {
  const turned = after.signing === before.other && after.other === before.signing;
  switch (step) {
    case 'prepare':
      return (
        after.step === 'prepared' &&
        after.signing === before.signing &&
        after.other !== undefined &&
        !seen.has(after.other)
      );
    case 'activate':
      return after.step === 'activated' && turned;
    case 'retire':
      return after.step === 'steady' && after.signing === before.signing;
    case 'abort':
      return before.step === 'activated'
        ? after.step === 'prepared' && turned
        : after.step === 'steady' && after.signing === before.signing;
    default:
      return step satisfies never;
  }
}

/** Nothing was changed. */
export function isSame(before: Kept, after: Kept): boolean {
  return (
    before.step === after.step &&
    before.signing === after.signing &&
    before.other === after.other &&
    before.sequence === after.sequence
  );
}
