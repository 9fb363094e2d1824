import { gunzipSync, gzipSync } from 'node:zlib';
import { together } from './progress.ts';
import type { ObjectVersion, Progress } from './types.ts';

/**
 * What a replica tells the leader: every policy that it has seen, in which generation, and how far it has come among
 * its own proxies. By `Kind group namespace/name`. A policy that no proxy needs is in it too: that is how the leader
 * knows that it was seen.
 */
export type Report = ReadonlyMap<string, ReportEntry>;

export interface ReportEntry extends ObjectVersion {
  readonly progress: Progress;
}

/** A text of one report, unpacked: far beyond what 10,000 policies need. */
const MAX_TEXT = 16 * 1024 * 1024;

/** gzip of JSON: reports of thousands of policies stay far below what one object of the API server holds (1 MiB). */
export function packReport(report: Report): Buffer {
  const rows = [...report].map(([key, { uid, generation, progress }]) => [
    key,
    uid,
    generation,
    progress.proxies,
    progress.current,
    ...(progress.rejected ? [progress.rejected.proxy, progress.rejected.message] : []),
  ]);
  return gzipSync(JSON.stringify(rows), { level: 6 });
}

/** @throws Error where it is no report: another release's, or edited by hand */
export function unpackReport(packed: Uint8Array): Report {
  const rows: unknown = JSON.parse(gunzipSync(packed, { maxOutputLength: MAX_TEXT }).toString('utf8'));
  if (!Array.isArray(rows)) throw new TypeError('a report is a list of rows');
  return new Map(rows.map(readRow));
}

function readRow(row: unknown): readonly [string, ReportEntry] {
  const [key, uid, generation, proxies, current, proxy, message]: readonly unknown[] = Array.isArray(row)
    ? row
    : [];
  if (typeof key !== 'string' || typeof uid !== 'string')
    throw new TypeError('a row of a report has no name');
  const rejected = typeof proxy === 'string' ? { proxy, message: String(message) } : undefined;
  return [
    key,
    {
      uid,
      generation: count(generation),
      progress: { proxies: count(proxies), current: count(current), ...(rejected && { rejected }) },
    },
  ];
}

function count(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TypeError('a count in a report is no whole number');
}

/** What all replicas together say of one version of a policy. */
export function summarize(
  key: string,
  version: ObjectVersion,
  reports: ReadonlyMap<string, Report>,
): { readonly progress: Progress; readonly unseenBy: readonly string[] } {
  const unseenBy: string[] = [];
  const parts: Progress[] = [];
  for (const [replica, report] of reports) {
    const entry = report.get(key);
    if (entry === undefined) {
      unseenBy.push(replica);
    } else if (entry.uid !== version.uid || entry.generation < version.generation) {
      unseenBy.push(replica);
      // Its proxies will need this generation; what they run is another.
      parts.push({ proxies: entry.progress.proxies, current: 0 });
    } else parts.push(entry.progress);
  }
  return { progress: together(parts), unseenBy: unseenBy.toSorted() };
}
