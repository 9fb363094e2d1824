import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import type { Row } from './row.ts';

const main = join(root, 'test/bench/main.ts');

describe('the bench, in a tiny size', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'countersign-bench-test-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it(
    'measures every row and its limit, prints the table and writes the JSON',
    { timeout: 400_000 },
    async () => {
      const json = join(folder, 'rows.json');
      const args = [main, '--quick', '--sidecars', '5', '--json', json];
      const { code, stdout, stderr } = await run(process.execPath, args);
      expect(code, stderr).toBe(0);
      const { rows } = JSON.parse(readFileSync(json, 'utf8')) as { rows: readonly Row[] };
      expect(rows.map(({ name }) => name)).toEqual([
        'sds',
        'sds-secret',
        'csr',
        'csr-grpc',
        'csr-grpc-bare',
        'csr-processes',
        'policy-compile',
        'policy-change-compile',
        'evaluate',
        'evaluate-denied',
        'evaluate-path',
        'evaluate-host',
        'evaluate-port',
        'evaluate-block',
        'cold-start-time',
        'cold-start-cpu',
        'cold-start-cpu-grpc',
        'policy-change-p50',
        'policy-change-p99',
        'policy-change-all',
        'policy-change-cpu',
        'memory-resident',
        'memory-heap',
        'renewal-busy-p50',
        'renewal-busy-p99',
        'apply-p50',
        'apply-p99',
        'apply-accepted-p50',
        'apply-accepted-p99',
        'apply-kubectl-p50',
        'apply-kubectl-p99',
        'pods-follow-cpu',
        'pods-time',
        'pods-time-reviews',
        'pods-cpu',
        'pods-cpu-api-server',
        'pods-reviews',
        'api-return-requests',
        'api-return-sidecars',
        'quarantine-p50',
        'quarantine-p99',
        'quarantine-lifted-p50',
        'quarantine-lifted-p99',
      ]);
      for (const { name, value, limit, ofLimit } of rows) {
        expect(
          [name, value, limit, ofLimit].slice(1).every(Number.isFinite),
          `${name} ${value} ${limit}`,
        ).toBe(true);
        expect(stdout).toContain(name);
        // Five sidecars are too few to see their memory in that of a process.
        if (!name.startsWith('memory')) expect(Math.min(value, limit), name).toBeGreaterThan(0);
      }
    },
  );

  it('runs one row alone, and says what rows there are', { timeout: 60_000 }, async () => {
    const one = await run(process.execPath, [main, '--quick', '--only', 'csr']);
    expect(one.code, one.stderr).toBe(0);
    expect(one.stdout).toContain('csr');
    expect(one.stdout).not.toContain('sds');
    const wrong = await run(process.execPath, [main, '--only', 'latency']);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain(
      '--only latency: there are sds, csr, csr-grpc, csr-processes, policy-compile, policy-change-compile, evaluate, cold-start,',
    );
  });
});
