import { writeFileSync } from 'node:fs';
import { applyRows } from './apply-rows.ts';
import { certificateRows } from './certificate-rows.ts';
import { fleetRows } from './fleet-rows.ts';
import { csrRows, sdsRows } from './issuance.ts';
import { compileRows, evaluateRows } from './policies.ts';
import { parseOptions, usage, type BenchOptions, type RowGroup } from './options.ts';
import { podsRows } from './pods-rows.ts';
import { processRows } from './process-rows.ts';
import { renewalRows } from './renewal-rows.ts';
import { quarantineRows } from './quarantine-rows.ts';
import { returnRows } from './return-rows.ts';
import { table, type Row } from './row.ts';

interface Part {
  readonly groups: readonly RowGroup[];
  readonly title: string;
  readonly run: (options: BenchOptions) => readonly Row[] | Promise<readonly Row[]>;
}

const parts: readonly Part[] = [
  { groups: ['sds'], title: 'issuing SVIDs for SDS', run: ({ size }) => sdsRows(size) },
  { groups: ['csr'], title: 'issuing SVIDs for requests', run: ({ size }) => csrRows(size) },
  {
    groups: ['csr-grpc'],
    title: 'the same over gRPC and TLS',
    run: (options) => certificateRows(options),
  },
  {
    groups: ['csr-processes'],
    title: 'the same of two replicas',
    run: (options) => processRows(options),
  },
  {
    groups: ['policy-compile', 'policy-change-compile'],
    title: 'compiling policies',
    run: ({ size }) => compileRows(size),
  },
  { groups: ['evaluate'], title: 'deciding', run: ({ size }) => evaluateRows(size) },
  {
    groups: ['cold-start', 'policy-change', 'memory'],
    title: 'a fleet of sidecars against a control plane',
    run: (options) => fleetRows(options, progress),
  },
  {
    groups: ['renewal-busy'],
    title: 'renewals while newcomers are served',
    run: (options) => renewalRows(options, progress),
  },
  { groups: ['apply'], title: 'policies at a real API server', run: (options) => applyRows(options) },
  {
    groups: ['pods'],
    title: 'pods of a real API server',
    run: (options) => podsRows(options, progress),
  },
  {
    groups: ['api-return'],
    title: 'an API server, and a replica, that are gone',
    run: (options) => returnRows(options, progress),
  },
  {
    groups: ['quarantine'],
    title: 'an identity that is cut off',
    run: (options) => quarantineRows(options, progress),
  },
];

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function runBench(options: BenchOptions): Promise<readonly Row[]> {
  const { only } = options;
  const rows: Row[] = [];
  for (const { groups, title, run } of parts) {
    if (only !== undefined && !groups.includes(only)) continue;
    progress(`${title} ...`);
    rows.push(...(await run(options)));
  }
  // A row's group is the start of its name: sds-secret is of sds.
  return rows.filter(({ name }) => only === undefined || name === only || name.startsWith(`${only}-`));
}

let options: BenchOptions | undefined;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n${usage}`);
  process.exitCode = 2;
}
if (options !== undefined) {
  const rows = await runBench(options);
  process.stdout.write(table(rows));
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify({ size: options.size, rows }, undefined, 2)}\n`);
  }
}
