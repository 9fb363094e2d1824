import { parseArgs } from 'node:util';

export const rowGroups = [
  'sds',
  'csr',
  'csr-grpc',
  'csr-processes',
  'policy-compile',
  'policy-change-compile',
  'evaluate',
  'cold-start',
  'policy-change',
  'memory',
  'renewal-busy',
  'apply',
  'pods',
  'api-return',
  'quarantine',
] as const;
export type RowGroup = (typeof rowGroups)[number];

/** How much is measured. */
export interface BenchSize {
  /** Rounds of what runs in one process; each is one of the limit and one of the product. */
  readonly rounds: number;
  /** CPU time of one half of a round. */
  readonly roundMs: number;
  /** Of the full-size policy set: ten policies and fifty workloads each. */
  readonly namespaces: number;
  readonly sidecars: number;
  /** Cold starts of each server. */
  readonly starts: number;
  /** Policy changes after each cold start. */
  readonly changes: number;
  /** Policies written at a real API server, one after the other. */
  readonly applies: number;
  /** Made at once at a real API server. */
  readonly pods: number;
  /** Life of the SVIDs whose renewals are timed: they are due at half of it, within a fifth of that. */
  readonly renewedTtlSeconds: number;
  /** For which the API server is away; and what is asked of it is counted for as long. */
  readonly outageMs: number;
  /** Identities cut off, and taken back, one after the other. */
  readonly cuts: number;
}

export interface BenchOptions {
  readonly size: BenchSize;
  readonly only: RowGroup | undefined;
  /** Where the rows go as JSON. */
  readonly json: string | undefined;
  /** Folder for CPU profiles of the control plane, one for each phase. */
  readonly profile: string | undefined;
}

export const usage: string = `usage: make bench, or: node test/bench/main.ts
  --only ROW      one of ${rowGroups.join(', ')}
  --json FILE     also write the rows as JSON
  --sidecars N    simulated sidecars (default 1000); twice as many pods at the API server, half as many for the quarantine
  --quick         few, short rounds: shows that it works, not how fast
  --profile DIR   write CPU profiles of the control plane (for Chrome's or VS Code's viewer); slows it down
`;

/** @throws Error that says what is wrong with the arguments */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      json: { type: 'string' },
      sidecars: { type: 'string', default: '1000' },
      quick: { type: 'boolean', default: false },
      profile: { type: 'string' },
    },
  });
  const only = rowGroups.find((group) => group === values.only);
  if (values.only !== undefined && only === undefined) {
    throw new Error(`--only ${values.only}: there are ${rowGroups.join(', ')}`);
  }
  const sidecars = Number(values.sidecars);
  if (!Number.isInteger(sidecars) || sidecars < 1 || sidecars > 20_000) {
    throw new Error(`--sidecars ${values.sidecars}: a whole number from 1 to 20000 is allowed`);
  }
  const size: BenchSize = values.quick
    ? {
        rounds: 2,
        roundMs: 10,
        namespaces: 3,
        sidecars,
        starts: 1,
        changes: 2,
        applies: 4,
        outageMs: 2_000,
        // The least that the control plane takes.
        renewedTtlSeconds: 60,
        cuts: 2,
        pods: sidecars,
      }
    : {
        rounds: 9,
        roundMs: 200,
        namespaces: 100,
        sidecars,
        starts: 3,
        changes: 10,
        applies: 200,
        outageMs: 30_000,
        renewedTtlSeconds: 120,
        cuts: 50,
        pods: 2 * sidecars,
      };
  return { size, only, json: values.json, profile: values.profile };
}
