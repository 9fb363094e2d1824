import * as fc from 'fast-check';
import type { QuarantineRule } from '../../../src/policy/index.ts';
import { FORMER_PEER, holderOf, SVIDS, type Peer } from '../world.ts';

/** Of certificates, as `inThisRun` fills them in. */
const digest = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: SVIDS.length - 1 }).map((index) => `$DIGEST${index}`) },
  { weight: 1, arbitrary: fc.constantFrom('0'.repeat(64), 'f'.repeat(64)) },
);

const id = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...SVIDS) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'spiffe://td1/ns/a/sa/',
      'spiffe://td1',
      'spiffe://td1/ns/a/sa/X',
      'spiffe://TD1/ns/a/sa/x',
      'spiffe://td1/ns/a/sa/*',
    ),
  },
);

/** Minutes from now; and milliseconds around the moment at which every SVID of this run was issued. */
const moment = fc
  .constantFrom(
    ...['$MS+10m', '$MS-10m', '$MS+600000m', '$ISSUED-1000', '$ISSUED-999', '$ISSUED-1', '$ISSUED+0'],
    ...['$ISSUED+1', '$ISSUED+999', '$ISSUED+1000'],
  )
  // A number once it is filled in.
  .map((text) => text as unknown as number);

/** Names that stand in each other's way in the order of texts. */
const ENTRIES = ['q-1', 'q-10', 'q-2', 'q-00ff00ff00', 'q-a', 'z-0'];

const callers: fc.Arbitrary<QuarantineRule['callers']> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('id' as const), uri: id }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('certificate' as const), digest }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('pod' as const),
      uid: fc.oneof(
        fc.constantFrom(...SVIDS.map((each) => holderOf(each).podUid)),
        fc.constantFrom('pod-', 'od-1', 'pod-01', 'pod-1,', 'POD-1'),
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('node' as const),
      node: fc.constantFrom('node-0', 'node-1', 'node-', 'ode-1', '0', 'NODE-0'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record(
      { kind: fc.constant('issued-before' as const), atMs: moment, id },
      { requiredKeys: ['kind', 'atMs'] },
    ),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'everyone' as const }) },
);

/** Whom a workload denies before any policy. */
export const quarantine: fc.Arbitrary<QuarantineRule[]> = fc.uniqueArray(
  fc.record({ entry: fc.constantFrom(...ENTRIES), reason: fc.constant('stolen'), callers }),
  { minLength: 1, maxLength: 3, selector: ({ entry }) => entry },
);

/** Who may be meant; enough to aim with, and no judge. Empty: nobody in particular. */
export function suspects(rules: readonly QuarantineRule[]): readonly Peer[] {
  const svid = (found: string): Peer => ({ kind: 'svid', id: found });
  return rules.flatMap(({ callers: meant }): readonly Peer[] => {
    switch (meant.kind) {
      case 'id':
        return SVIDS.filter((each) => each === meant.uri).map(svid);
      case 'certificate':
        return SVIDS.filter((_, index) => meant.digest === `$DIGEST${index}`).map(svid);
      case 'pod':
        return SVIDS.filter((each) => holderOf(each).podUid === meant.uid).map(svid);
      case 'node':
        return SVIDS.filter((each) => holderOf(each).node === meant.node).map(svid);
      case 'issued-before':
        return [FORMER_PEER, ...SVIDS.filter((each) => (meant.id ?? each) === each).map(svid)];
      case 'everyone':
        return [];
      default:
        return meant satisfies never;
    }
  });
}
