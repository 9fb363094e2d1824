import type { RootDescription, RotationState } from '../../src/authority/index.ts';
import type { RootState, RotateRootResponse } from '../../src/operator/index.ts';

/** How a rotation stands, for the operator API. */
export function rotationAnswer(
  state: RotationState,
  lagging: readonly string[],
  taken: boolean,
): RotateRootResponse {
  return {
    state: state.step,
    since: state.sinceMs === undefined ? '' : iso(state.sinceMs),
    signing: rootState(state.signing),
    other: state.other === undefined ? null : rootState(state.other),
    other_ends: state.otherEndsMs === undefined || state.otherEndsMs === 0 ? '' : iso(state.otherEndsMs),
    lagging,
    plan: plan(state, lagging.length),
    taken,
  };
}

const ACTIVATE = 'the new root signs, and every SVID is renewed at once';
const RETIRE = 'the former root leaves the bundle, once the last SVID below it has ended';

/** What happens from here on, from the real dates: a rehearsal. */
function plan({ step, signing, other, otherEndsMs = 0 }: RotationState, lagging: number): readonly string[] {
  const waiting = lagging === 0 ? 'nobody lags' : `${lagging} in the way`;
  const plans: Readonly<Record<RotationState['step'], readonly string[]>> = {
    steady: [
      `the root that signs ends at ${iso(signing.notAfterMs)}`,
      'prepare: a new root joins the bundle, and every Envoy is told; it signs nothing yet',
      `activate: ${ACTIVATE}, once every live Envoy has acknowledged the bundle and every replica can sign below it`,
      `retire: ${RETIRE}`,
    ],
    prepared: [
      `activate now (${waiting}): ${ACTIVATE}; it ends at ${iso(other?.notAfterMs ?? 0)}`,
      `retire: ${RETIRE}`,
      'abort: the new root leaves the bundle',
    ],
    activated: [
      `retire, not before ${iso(otherEndsMs)} (${waiting}): ${RETIRE}`,
      'abort: the former root signs again; the new one stays trusted until nothing of it lives',
    ],
  };
  return plans[step];
}

function rootState({ fingerprint, notBeforeMs, notAfterMs }: RootDescription): RootState {
  return { fingerprint, not_before: iso(notBeforeMs), not_after: iso(notAfterMs) };
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
