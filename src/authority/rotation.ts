import { TrustBundle, TrustDomain } from '../identity/index.ts';
import { X509Certificate } from 'node:crypto';
import type { CrossCertificate } from './cross.ts';
import { AuthorityError } from './errors.ts';
import type { StoredAuthority, StoredRoot, StoredRotation } from './key-store.ts';
import { describeRoot, type RootDescription } from './root.ts';

/**
 * How one root takes the place of another, and nobody loses a request:
 *
 *   steady --prepare--> prepared --activate--> activated --retire--> steady
 *     ^                  |    ^                    |
 *     +------abort-------+    +-------abort--------+
 *
 * Prepared: the next root is trusted. Activated: it signs. A root leaves the bundle only when no SVID below it lives.
 * Whether every proxy has followed is for the caller to prove before it takes the next step.
 */
export type RotationStep = 'prepare' | 'activate' | 'retire' | 'abort';

/** How a rotation stands, as an operator sees it. Times in ms since the epoch. */
export interface RotationState {
  readonly step: 'steady' | 'prepared' | 'activated';
  readonly signing: RootDescription;
  /** When the step was taken. */
  readonly sinceMs?: number;
  /** Trusted, and signs nothing: the next root, or the former one. */
  readonly other?: RootDescription;
  /** When the last SVID below the other root ends; 0: there never was one. */
  readonly otherEndsMs?: number;
}

export function describeRotation({ root, rotation }: StoredAuthority): RotationState {
  const signing = describeRoot(root);
  if (rotation === undefined) return { step: 'steady', signing };
  const { step, sinceMs, other, otherEndsMs } = rotation;
  return { step, signing, sinceMs, other: describeRoot(other), otherEndsMs };
}

/**
 * @param cross certifies the next root's key by the present one; undefined where that one may not
 * @throws AuthorityError `rotation-refused`
 */
export function prepared(
  state: StoredAuthority,
  next: StoredRoot,
  cross: CrossCertificate | undefined,
  nowMs: number,
): StoredAuthority {
  refuseOutOfOrder(state, 'prepare');
  const living = (state.crosses ?? []).filter(({ certificate }) => isAlive(certificate, nowMs));
  return {
    ...state,
    takenBack: undefined,
    crosses: cross === undefined ? living : [cross, ...living],
    rotation: { step: 'prepared', sinceMs: nowMs, other: next, otherEndsMs: 0 },
    bundle: withRoots(state, [...state.bundle.x509Authorities, next.certificate]),
  };
}

/**
 * @param endsMs when the last SVID below the root that signs now will end
 * @throws AuthorityError `rotation-refused`
 */
export function activated(state: StoredAuthority, nowMs: number, endsMs: number): StoredAuthority {
  const rotation = refuseOutOfOrder(state, 'activate');
  return {
    ...state,
    takenBack: undefined,
    root: rotation.other,
    rotation: { step: 'activated', sinceMs: nowMs, other: state.root, otherEndsMs: endsMs },
  };
}

/**
 * @param force though SVIDs of the former root live: their peers will refuse them
 * @throws AuthorityError `rotation-refused`
 */
export function retired(state: StoredAuthority, nowMs: number, force: boolean): StoredAuthority {
  return withoutOther(state, refuseOutOfOrder(state, 'retire'), nowMs, force);
}

/**
 * One step back. From activated: the former root signs again, and the other one stays trusted.
 * @param endsMs when the last SVID below the root that signs now will end
 * @param takenBack the operator's CA that is not to be moved to by itself any more
 * @throws AuthorityError `rotation-refused`
 */
export function aborted(
  state: StoredAuthority,
  nowMs: number,
  endsMs: number,
  force: boolean,
  takenBack?: string,
): StoredAuthority {
  const rotation = refuseOutOfOrder(state, 'abort');
  if (rotation.step === 'prepared') {
    const { fingerprint } = describeRoot(rotation.other);
    const crosses = (state.crosses ?? []).filter(({ of }) => of !== fingerprint);
    return withoutOther({ ...state, crosses, takenBack }, rotation, nowMs, force);
  }
  return {
    ...state,
    takenBack,
    root: rotation.other,
    rotation: { step: 'prepared', sinceMs: nowMs, other: state.root, otherEndsMs: endsMs },
  };
}

/**
 * The CA that signed is gone, and the one at hand leads to another root that is trusted already: it signs at once, for
 * nothing else can, though who trusts it has not been proven.
 * Where the former root has ended, nobody is cut off any more, and any root may follow.
 * @param roots of the CA at hand: its own first
 * @param endsMs when the last SVID below the root that signed will end
 * @returns undefined where that root is not trusted, and the former one is good
 */
export function withoutFormerCa(
  state: StoredAuthority,
  root: Buffer,
  roots: readonly Buffer[],
  nowMs: number,
  endsMs: number,
): StoredAuthority | undefined {
  if (!state.bundle.x509Authorities.some((known) => known.equals(root))) {
    if (isAlive(state.root.certificate, nowMs)) return undefined;
    const { trustDomain, crosses } = state;
    return { trustDomain, root: { certificate: root }, crosses, bundle: withRoots(state, roots) };
  }
  return {
    ...state,
    takenBack: undefined,
    root: { certificate: root },
    rotation: { step: 'activated', sinceMs: nowMs, other: state.root, otherEndsMs: endsMs },
  };
}

function withoutOther(
  state: StoredAuthority,
  { other, otherEndsMs }: StoredRotation,
  nowMs: number,
  force: boolean,
): StoredAuthority {
  if (nowMs < otherEndsMs && !force) {
    throw new AuthorityError(
      'rotation-refused',
      `SVIDs below the root that would leave the bundle live until ${new Date(otherEndsMs).toISOString()}: wait until then.`,
    );
  }
  const roots = state.bundle.x509Authorities.filter((der) => !other.certificate.equals(der));
  return { ...state, rotation: undefined, bundle: withRoots(state, roots) };
}

function withRoots(
  { trustDomain, bundle }: StoredAuthority,
  roots: readonly Buffer[],
): StoredAuthority['bundle'] {
  return TrustBundle.of({ trustDomain: TrustDomain.parse(trustDomain), ...bundle }).withAuthorities(roots);
}

function isAlive(certificate: Buffer, nowMs: number): boolean {
  return new X509Certificate(certificate).validToDate.getTime() > nowMs;
}

/** What may follow, by where a rotation stands. */
const NEXT = {
  steady: ['prepare'],
  prepared: ['activate', 'abort'],
  activated: ['retire', 'abort'],
} as const satisfies Record<string, readonly RotationStep[]>;

/** @throws AuthorityError `rotation-refused` where the step cannot be taken now */
export function refuseOutOfOrder(state: StoredAuthority, step: 'prepare'): undefined;
export function refuseOutOfOrder(state: StoredAuthority, step: RotationStep): StoredRotation;
export function refuseOutOfOrder({ rotation }: StoredAuthority, step: RotationStep): unknown {
  const at = rotation?.step ?? 'steady';
  const possible: readonly RotationStep[] = NEXT[at];
  if (possible.includes(step)) return rotation;
  const standing = rotation === undefined ? 'no rotation is under way' : `the new root is ${at}`;
  throw new AuthorityError(
    'rotation-refused',
    `Cannot ${step}: ${standing}. Possible now: ${possible.join(', ')}.`,
  );
}
