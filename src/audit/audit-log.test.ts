import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
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

it('writes events that happened together in one piece, numbered in their order', () => {
  const written: string[] = [];
  const audit = new AuditLog({
    sink: { write: (lines) => written.push(lines), close: () => {} },
    nowMs: () => 1_795_348_800_123,
    onError: () => {},
    onRecovered: () => {},
  });
  audit.record(event);
  audit.recordAll([]);
  audit.recordAll(['a', 'b', 'c'].map((detail) => ({ ...event, detail })));
  const line = (sequence: number, detail: string): string =>
    `{"time":"2026-11-22T12:00:00.123Z","sequence":${sequence},"event":"workload.refused","actor":"shop/web","peer":"127.0.0.1","factor":"pod","detail":"${detail}","leftOut":0}\n`;
  expect(written).toEqual([line(1, 'gone'), line(2, 'a') + line(3, 'b') + line(4, 'c')]);
});

it('tells once of events that are lost together, and numbers them', () => {
  const written: string[] = [];
  const told: string[] = [];
  let full = true;
  const audit = new AuditLog({
    sink: {
      write: (lines) => {
        if (full) throw new Error('disk full');
        written.push(lines);
      },
      close: () => {},
    },
    nowMs: () => 0,
    onError: (error) => told.push(error.message),
    onRecovered: () => told.push('recovered'),
  });
  audit.recordAll([event, event, event]);
  full = false;
  audit.recordAll([event, event]);
  expect(told).toEqual(['disk full', 'recovered']);
  const sequences = written
    .join('')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { sequence: number });
  expect(sequences.map(({ sequence }) => sequence)).toEqual([4, 5]);
});

describe('a file that fills up in the middle of events', () => {
  /** Ten events of 100 bytes each into a file that takes `limit` bytes, and ten more when there is room again. */
  function filled(limit: number): { readonly lines: readonly string[]; readonly told: readonly string[] } {
    const folder = mkdtempSync(join(tmpdir(), 'audit-'));
    try {
      const path = join(folder, 'audit.log');
      const script = `
        import { execFileSync } from 'node:child_process';
        import { AuditLog, fileSink } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
        const told = [];
        const audit = new AuditLog({
          sink: fileSink(process.argv[1]), nowMs: () => 0,
          onError: ({ code }) => told.push(code), onRecovered: () => told.push('recovered'),
        });
        const limit = (bytes) => execFileSync('prlimit', ['--fsize=' + bytes + ':', '--pid', String(process.pid)]);
        const ten = () => Array.from({ length: 10 }, () => ({ event: 'x', pad: 'p'.repeat(30) }));
        limit(${limit});
        audit.recordAll(ten());
        limit('unlimited');
        audit.recordAll(ten());
        audit.close();
        console.log(JSON.stringify(told));`;
      // Beyond its limit, a process is ended by a signal unless it ignores that.
      const { stdout, stderr } = spawnSync(
        'bash',
        ['-c', 'trap "" XFSZ; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', script, path],
        { encoding: 'utf8' },
      );
      expect(stderr).toBe('');
      return {
        lines: readFileSync(path, 'utf8').trimEnd().split('\n'),
        told: JSON.parse(stdout) as readonly string[],
      };
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  const sequenceOf = (line: string): number => (JSON.parse(line) as { sequence: number }).sequence;

  it('keeps the whole lines, and what was torn spoils none of those that follow', () => {
    const { lines, told } = filled(350);
    expect(told).toEqual(['EFBIG', 'recovered']);
    expect(lines).toHaveLength(3 + 1 + 10);
    expect(() => sequenceOf(lines[3]!)).toThrow(SyntaxError);
    const whole = [...lines.slice(0, 3), ...lines.slice(4)].map(sequenceOf);
    expect(whole).toEqual([1, 2, 3, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
  });

  it('gets no empty line where the last one that fitted was whole', () => {
    const { lines } = filled(300);
    expect(lines.map(sequenceOf)).toEqual([1, 2, 3, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
  });
});
