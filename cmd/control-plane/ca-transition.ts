import {
  AuthorityError,
  type Authority,
  type PluggedCa,
  type RotationState,
  type RotationStep,
} from '../../src/authority/index.ts';
import type { Tell } from './home.ts';
import type { Witnesses } from './observers.ts';
import { BY_FILES, RotationRefused, type RootRotation } from './root-rotation.ts';

const EVERY_MS = 1_000;
/** Its place in `/readyz`. */
const TRANSITION = 'ca-transition';

const TAKEN_BACK = 'the rotation to it was taken back: put the CA that signs back, or give another one';

export interface CaStanding {
  readonly state: RotationState;
  /** The CA that was given last. */
  readonly ca: PluggedCa;
  /** It does not sign yet, as another root signs. */
  readonly waits: boolean;
  /** Somebody took the rotation to it back. */
  readonly givenUp: boolean;
  readonly nowMs: number;
  /** How long a new root is trusted before it signs: who was away for that long has no SVID any more. */
  readonly settleMs: number;
  readonly lagging: (step: RotationStep) => readonly string[];
}

/** What leads to the CA that the operator gave: the step whose time has come, or what is waited for. */
export function towardsCa(standing: CaStanding): {
  readonly step?: RotationStep;
  readonly waitsFor?: string;
} {
  const { state, ca, waits, givenUp, nowMs, settleMs, lagging } = standing;
  const { step, other, sinceMs = 0 } = state;
  const isOther = other?.fingerprint === ca.root.fingerprint;
  if (step === 'steady') {
    if (!waits) return {};
    return givenUp ? { waitsFor: TAKEN_BACK } : { step: 'prepare' };
  }
  if (step === 'prepared') {
    // The operator put the CA that signs back.
    if (!waits) return trusts(ca, other?.fingerprint) ? {} : { step: 'abort' };
    if (!isOther) return { waitsFor: 'a rotation to another root is under way: finish it, or take it back' };
    if (givenUp) return { waitsFor: TAKEN_BACK };
    const fromMs = sinceMs + settleMs;
    if (nowMs < fromMs)
      return { waitsFor: `its root is trusted, and it signs from ${new Date(fromMs).toISOString()} on` };
    const laggards = lagging('activate');
    return laggards.length === 0
      ? { step: 'activate' }
      : { waitsFor: `not all trust its root yet: ${laggards[0]}${more(laggards.length)}` };
  }
  if (waits && isOther) return { step: 'abort' };
  if (trusts(ca, other?.fingerprint)) return {};
  return lagging('retire').length === 0
    ? { step: 'retire' }
    : waits
      ? { waitsFor: 'the rotation before is not finished yet' }
      : {};
}

function trusts({ fingerprints }: PluggedCa, root: string | undefined): boolean {
  return root !== undefined && fingerprints.includes(root);
}

function more(count: number): string {
  return count > 1 ? `, and ${count - 1} more` : '';
}

/** Brings the mesh to the CA that the operator gave, where this replica leads. @returns stops it */
export function moveToCa(parts: {
  readonly authority: Authority;
  readonly rotation: RootRotation;
  readonly leads: () => boolean;
  readonly settleMs: number;
  readonly nowMs: () => number;
  readonly remark: Tell['remark'];
  readonly witnesses: Witnesses;
}): () => void {
  const { authority, rotation, leads, settleMs, nowMs, remark, witnesses } = parts;
  const { log } = witnesses;
  let failing = false;
  const look = async (): Promise<void> => {
    await authority.lookAfterSigner();
    const { ca } = authority;
    if (ca === undefined) return;
    const waits = authority.waitingCa !== undefined;
    const state = authority.rotation;
    const givenUp = authority.isTakenBack;
    const lagging = (step: RotationStep): readonly string[] => rotation.lagging(step);
    const next = towardsCa({ state, ca, waits, givenUp, nowMs: nowMs(), settleMs, lagging });
    remark(
      TRANSITION,
      waits ? `the CA in ${ca.root.where} waits: ${next.waitsFor ?? 'its root is being told'}` : undefined,
    );
    if (!leads()) return;
    if (next.step === undefined) {
      if (!waits && state.step === 'steady') await authority.setRoots(ca.roots);
      return;
    }
    await rotation.take(next.step, false, BY_FILES);
  };
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  const follow = async (): Promise<void> => {
    try {
      await look();
      failing = false;
    } catch (error) {
      // Who is in the way is in the remark, and the next look is soon.
      const expected = error instanceof RotationRefused || error instanceof AuthorityError;
      if (!failing)
        log[expected ? 'warn' : 'error']({ err: error }, 'the CA could not be moved to; it is tried again');
      failing = true;
    }
    if (!closed) timer = setTimeout(() => void follow(), EVERY_MS).unref();
  };
  void follow();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}
