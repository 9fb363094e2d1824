import { gunzipSync, gzipSync } from 'node:zlib';
import { together } from './progress.ts';
import type { ObjectVersion, Progress } from './types.ts';

/** What a replica tells the others. */
export interface Report {
  /**
   * Every policy that it has seen, in which generation, and how far it has come among its own proxies. By `resource
   * namespace/name`. A policy that no proxy needs is in it too: that is how the leader knows that it was seen.
   */
  readonly policies: ReadonlyMap<string, ReportEntry>;
  readonly bundle: BundleReport;
  readonly svids: SvidReport;
  /** Absent: the replica is of an earlier release. */
  readonly quarantine?: QuarantineReport;
}

/** How far the quarantine has come among a replica's own proxies. */
export interface QuarantineReport {
  /** Stands for the entries that it speaks of. */
  readonly entries: string;
  readonly proxies: number;
  /** Of those, the ones that deny as these entries say. */
  readonly current: number;
  /** Who does not, and why, a line each: the first of them. */
  readonly lagging: readonly string[];
}

/** How far the trust bundle has come among a replica's own proxies. */
export interface BundleReport {
  /** Of the bundle that the replica gives out. */
  readonly sequence: number;
  readonly proxies: number;
  /** Of those, the ones that run it. */
  readonly current: number;
  /** Who does not, and why, a line each: the first of them. */
  readonly lagging: readonly string[];
  /** When the last certificate ends whose holder was told another bundle and cannot acknowledge; ms, 0: none. */
  readonly unawareUntilMs: number;
}

/** Under which root a replica's own proxies run their SVIDs. */
export interface SvidReport {
  /** Fingerprint of the root that the replica signs below. */
  readonly signing: string;
  /** Of the roots in use, the ones that it has what it takes to sign below. Absent: the replica is of an earlier release. */
  readonly canSign?: readonly string[];
  readonly proxies: number;
  /** Of those, the ones that run an SVID of that root. */
  readonly current: number;
  /** As in `BundleReport`. */
  readonly lagging: readonly string[];
}

export interface ReportEntry extends ObjectVersion {
  readonly progress: Progress;
}

/** A text of one report, unpacked: far beyond what 10,000 policies need. */
const MAX_TEXT = 16 * 1024 * 1024;

/** gzip of JSON: reports of thousands of policies stay far below what one object of the API server holds (1 MiB). */
export function packReport(report: Report): Buffer {
  const { policies, bundle, svids, quarantine } = report;
  const rows = [...policies].map(([key, { uid, generation, progress }]) => [
    key,
    uid,
    generation,
    progress.proxies,
    progress.current,
    ...(progress.rejected ? [progress.rejected.proxy, progress.rejected.message] : []),
  ]);
  return gzipSync(JSON.stringify({ bundle, svids, quarantine, policies: rows }), { level: 6 });
}

/** @throws Error where it is no report: another release's, or edited by hand */
export function unpackReport(packed: Uint8Array): Report {
  const text = gunzipSync(packed, { maxOutputLength: MAX_TEXT }).toString('utf8');
  const { bundle, svids, policies, quarantine } = fields(JSON.parse(text));
  if (!Array.isArray(policies)) throw new TypeError('the policies of a report are no list of rows');
  return {
    bundle: readBundle(fields(bundle)),
    svids: readSvids(fields(svids)),
    policies: new Map(policies.map(readRow)),
    ...(quarantine !== undefined && { quarantine: readQuarantine(fields(quarantine)) }),
  };
}

function readBundle(bundle: Readonly<Record<string, unknown>>): BundleReport {
  const { sequence, unawareUntilMs } = bundle;
  return { sequence: count(sequence), ...readStanding(bundle), unawareUntilMs: count(unawareUntilMs) };
}

function readSvids(svids: Readonly<Record<string, unknown>>): SvidReport {
  const { signing, canSign } = svids;
  if (typeof signing !== 'string') throw new TypeError('a report does not say which root signs');
  if (canSign !== undefined && !Array.isArray(canSign))
    throw new TypeError('a report does not say which roots can sign');
  return { signing, ...(canSign !== undefined && { canSign: canSign.map(String) }), ...readStanding(svids) };
}

function readStanding(
  part: Readonly<Record<string, unknown>>,
): Pick<SvidReport, 'proxies' | 'current' | 'lagging'> {
  const { proxies, current, lagging } = part;
  if (!Array.isArray(lagging)) throw new TypeError('a report does not say who lags');
  return { proxies: count(proxies), current: count(current), lagging: lagging.map(String) };
}

function readQuarantine(report: Readonly<Record<string, unknown>>): QuarantineReport {
  const { entries, proxies, current, lagging } = report;
  if (typeof entries !== 'string' || !Array.isArray(lagging))
    throw new TypeError('a report does not say whom its proxies cut off');
  return { entries, proxies: count(proxies), current: count(current), lagging: lagging.map(String) };
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
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
    const entry = report.policies.get(key);
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
