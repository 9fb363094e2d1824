import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AuditLog, fileSink, type AuditEvent } from './index.ts';

const event: AuditEvent = {
  event: 'workload.refused',
  actor: 'shop/web',
  peer: '127.0.0.1',
  factor: 'pod',
  detail: 'gone',
  leftOut: 0,
};

it('writes one numbered line of JSON for each event, to a file that only its owner reads', () => {
  const folder = mkdtempSync(join(tmpdir(), 'audit-'));
  try {
    const path = join(folder, 'audit.log');
    for (let run = 0; run < 2; run += 1) {
      const audit = new AuditLog({
        sink: fileSink(path),
        nowMs: () => 0,
        onError: () => {},
        onRecovered: () => {},
      });
      audit.record(event);
      audit.record(event);
      audit.close();
    }
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { sequence: number }).sequence)).toEqual([1, 2, 1, 2]);
    expect(JSON.parse(lines[0] ?? '')).toEqual({ time: '1970-01-01T00:00:00.000Z', sequence: 1, ...event });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('says when an event could not be written, and counts it, so that the gap shows', () => {
  const written: string[] = [];
  const errors: string[] = [];
  let full = true;
  const audit = new AuditLog({
    sink: {
      write: (line) => {
        if (full) throw new Error('disk full');
        written.push(line);
      },
      close: () => {},
    },
    nowMs: () => 0,
    onError: (error) => errors.push(error.message),
    onRecovered: () => errors.push('recovered'),
  });
  audit.record(event);
  full = false;
  audit.record(event);
  audit.record(event);
  expect(errors).toEqual(['disk full', 'recovered']);
  expect(JSON.parse(written[0] ?? '')).toMatchObject({ sequence: 2 });
});
