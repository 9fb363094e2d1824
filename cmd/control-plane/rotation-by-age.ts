import type { Authority, RotationState, RotationStep } from '../../src/authority/index.ts';
import type { Logger } from '../../src/telemetry/index.ts';
import type { RootRotation } from './root-rotation.ts';

export interface RotationByAge {
  /** From this age on a root is replaced; milliseconds. */
  readonly ageMs: number;
  /**
   * How long a new root is trusted before it signs: the life of an SVID. Who was away for that long has no SVID any
   * more, and learns of the root when it comes back for one.
   */
  readonly settleMs: number;
  readonly nowMs: () => number;
  readonly state: () => RotationState;
  /** Who stands in the way of a step; empty: nobody. */
  readonly lagging: (step: RotationStep) => readonly string[];
}

/** The step whose time has come; undefined: none has. */
export function dueStep({ ageMs, settleMs, nowMs, state, lagging }: RotationByAge): RotationStep | undefined {
  const { step, signing, sinceMs = 0 } = state();
  const old = nowMs() - signing.notBeforeMs >= ageMs;
  switch (step) {
    case 'steady':
      return old ? 'prepare' : undefined;
    case 'prepared':
      // A young root that signs: somebody took the rotation back, and will know why.
      return old && nowMs() - sinceMs >= settleMs && lagging('activate').length === 0
        ? 'activate'
        : undefined;
    case 'activated':
      return lagging('retire').length === 0 ? 'retire' : undefined;
    default:
      return undefined;
  }
}

/** Looks every minute, where this replica leads. @returns the function that stops it */
export function rotateByAge(
  parts: {
    readonly authority: Authority;
    readonly rotation: RootRotation;
    /** On Kubernetes one replica of all takes the steps. */
    readonly leads: () => boolean;
  } & Pick<RotationByAge, 'ageMs' | 'settleMs' | 'nowMs'>,
  log: Logger,
): () => void {
  const { authority, rotation, leads } = parts;
  const asked: RotationByAge = {
    ...parts,
    state: () => authority.rotation,
    lagging: (step) => rotation.lagging(step),
  };
  let busy = false;
  const look = async (): Promise<void> => {
    const step = busy || !leads() ? undefined : dueStep(asked);
    if (step === undefined) return;
    busy = true;
    try {
      await rotation.take(step, false, 'age');
    } catch (error) {
      log.error({ err: error, step }, 'a step of the rotation failed; it is tried again in a minute');
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(() => void look(), 60_000);
  timer.unref();
  return () => clearInterval(timer);
}
