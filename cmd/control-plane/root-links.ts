import type { RootDescription, RotationState } from '../../src/authority/index.ts';
import type { LinkFacts } from '../../src/expiry/index.ts';

export interface Roots {
  readonly signing: RootDescription;
  /** Of a rotation that is under way. */
  readonly other: RootDescription | undefined;
  readonly step: RotationState['step'];
  /** All that are trusted. */
  readonly bundle: readonly RootDescription[];
  /** An operator's CA signs below the root. */
  readonly plugged: boolean;
  readonly dataDir: string;
}

const STEPS_LEFT = {
  steady: ['prepare', 'activate', 'retire'],
  prepared: ['activate', 'retire'],
  activated: ['retire', 'prepare', 'activate'],
} as const satisfies Record<RotationState['step'], readonly string[]>;

/** What there is to run about a root: the next step of a rotation, those after it, or a recovery. */
export function rootLinks({ signing, other, step, bundle, plugged, dataDir }: Roots): readonly LinkFacts[] {
  const [next, ...later] = STEPS_LEFT[step];
  const rotate = `countersign rotate ${next} --data-dir ${dataDir} (then ${later.join(', ')})`;
  const another = 'put a CA of another root in the place of the present one';
  const recover = plugged
    ? `${another}, and restart the control plane`
    : `countersign rotate ${next} --data-dir ${dataDir}, or with the control plane stopped: countersign recover --data-dir ${dataDir}`;
  const trusted = bundle.filter(({ fingerprint }) => fingerprint !== signing.fingerprint);
  return [
    {
      kind: 'root',
      name: signing.fingerprint.slice(0, 16),
      serves: 'nothing is signed, and no SVID below it is accepted',
      term: termOf(signing),
      run: plugged ? another : rotate,
      runExpired: recover,
    },
    ...trusted.map((root): LinkFacts => ({
      kind: 'trusted-root',
      name: root.fingerprint.slice(0, 16),
      serves: 'SVIDs below it are refused',
      term: termOf(root),
      run:
        root.fingerprint === other?.fingerprint
          ? `countersign rotate ${step === 'prepared' ? 'abort' : 'retire'} --data-dir ${dataDir}`
          : 'take it out of --ca-roots, or put its successor there',
    })),
  ];
}

function termOf({ notBeforeMs, notAfterMs }: RootDescription): LinkFacts['term'] {
  return { kind: 'until', fromMs: notBeforeMs, untilMs: notAfterMs };
}
