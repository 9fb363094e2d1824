import {
  ApiServerError,
  asApiServerError,
  fieldsAt,
  Reflector,
  textAt,
  type ApiServer,
  type Fields,
} from '../kubernetes/index.ts';
import { packReport, unpackReport, type Report } from '../status/index.ts';
import { pause } from './pause.ts';
import type { OtherReplica, ReplicaPods } from './replica-pods.ts';

export interface ReplicaReportsOptions {
  readonly api: ApiServer;
  /** The control plane's own. */
  readonly namespace: string;
  /** Of this replica; no two are equal. */
  readonly identity: string;
  /** Which replicas there are: who of them does not report is silent. */
  readonly pods: Pick<ReplicaPods, 'own' | 'others' | 'unknownSinceMs'>;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** Another replica reports something else, came, went, or fell silent. */
  readonly onChange: () => void;
  /** Who is silent for longer than it takes to report is not who was: as `silent` says it. */
  readonly onSilent: (lines: readonly string[]) => void;
  /** Reports cannot be written or watched, or one cannot be read. Once for each row of failures. */
  readonly onFailing: (what: string, error: unknown) => void;
  readonly onRecovered: (what: string) => void;
  readonly times?: Partial<ReportTimes>;
}

/** Milliseconds. */
interface ReportTimes {
  /** Between two writes, at least. */
  readonly everyMs: number;
  /** Between two writes, at most: how the others know that this replica lives. */
  readonly renewMs: number;
  /** Who has not renewed for this long is gone, and its proxies are with others. */
  readonly goneMs: number;
  /** What is left of who is gone is deleted after this. */
  readonly sweepMs: number;
  /** A replica that is there has reported by then. */
  readonly dueMs: number;
}

const TIMES: ReportTimes = {
  everyMs: 2_000,
  renewMs: 10_000,
  goneMs: 30_000,
  sweepMs: 300_000,
  dueMs: 10_000,
};
const LABEL = 'security.countersign.dev/report';
const REPLICA = 'security.countersign.dev/replica';
const POD = 'security.countersign.dev/pod';
/** Otherwise a renewal would change nothing, and nobody would see it. */
const SEQUENCE = 'security.countersign.dev/sequence';

interface Seen {
  readonly identity: string;
  /** Empty: it runs as none. */
  readonly pod: string;
  readonly resourceVersion: string;
  /** Undefined: it could not be read. */
  readonly report: Report | undefined;
  /** When it was last seen to change, by our own clock. */
  readonly atMs: number;
}

/** What every replica tells all others, each in a ConfigMap of its own. */
export class ReplicaReports {
  readonly #options: ReplicaReportsOptions;
  readonly #times: ReportTimes;
  readonly #name: string;
  readonly #seen = new Map<string, Seen>();
  /** By pod: when one reported last, within what a report counts for. */
  readonly #heard = new Map<string, number>();
  #own: Report | undefined;
  #packed: Buffer | undefined;
  #written: { readonly packed: Buffer; readonly atMs: number } | undefined;
  #sequence = 0;
  #failing = false;
  #known = '';
  #silent = '';
  /** Since when reports have not been seen; and since when they are refused, where the API server is not just away. */
  #unread: { readonly sinceMs: number; readonly refusedMs: number | undefined } | undefined;

  constructor(options: ReplicaReportsOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    this.#name = nameOf(options.identity);
    this.#unread = { sinceMs: options.monotonicMs(), refusedMs: options.monotonicMs() };
  }

  /** Of the other replicas that live, by identity. */
  get others(): ReadonlyMap<string, Report> {
    return new Map(this.#living().map(({ identity, report }) => [identity, report]));
  }

  /**
   * Whose Envoys nobody speaks for, a line each, so far as it is known: replicas that are there and do not report.
   * @param when `due`: once they have had the time to
   */
  silent(when: 'now' | 'due' = 'now'): readonly string[] {
    const { pods, monotonicMs, namespace } = this.#options;
    const longMs = when === 'now' ? 0 : this.#times.dueMs;
    const long = (sinceMs: number): boolean => monotonicMs() - sinceMs >= longMs;
    const lines: string[] = [];
    const unread = this.#unread;
    // With the API server away nobody can write or be seen to, and nothing of it is anybody's fault.
    const unreadMs = when === 'now' ? unread?.sinceMs : unread?.refusedMs;
    if (unreadMs !== undefined && long(unreadMs))
      lines.push('the reports of the other replicas cannot be read');
    if (pods.unknownSinceMs !== undefined && long(pods.unknownSinceMs))
      lines.push('which replicas there are is not known');
    for (const [pod, { sinceMs, lost }] of this.#unheard()) {
      if (!long(sinceMs)) continue;
      // One that stops takes its report back before its pod is gone.
      if (when === 'due' && this.#wasHeard(pod)) continue;
      const advice = lost
        ? ` and may still run on a node out of reach: if that node is dead for good, kubectl delete pod -n ${namespace} ${pod} --force`
        : '';
      lines.push(`replica ${pod} does not report${advice}`);
    }
    return lines;
  }

  /** Who was never heard and may have the time to report yet, a line each: what they will say is not known. */
  awaited(): readonly string[] {
    const { pods } = this.#options;
    const lines: string[] = [];
    if (this.#unread !== undefined) lines.push('the reports of the other replicas have yet to be read');
    if (pods.unknownSinceMs !== undefined) lines.push('which replicas there are is not known yet');
    for (const [pod] of this.#unheard())
      if (!this.#wasHeard(pod)) lines.push(`replica ${pod} has not reported yet`);
    return lines;
  }

  /** The pods of other replicas that are there, and of which no report counts. */
  #unheard(): readonly (readonly [string, OtherReplica])[] {
    const reporting = new Set(this.#living().map(({ pod }) => pod));
    return [...this.#options.pods.others].filter(([pod]) => !reporting.has(pod));
  }

  /** What it has said would still count. */
  #wasHeard(pod: string): boolean {
    const atMs = this.#heard.get(pod);
    return atMs !== undefined && this.#options.monotonicMs() - atMs < this.#times.goneMs;
  }

  #living(): readonly (Seen & { readonly report: Report })[] {
    const now = this.#unread?.sinceMs ?? this.#options.monotonicMs();
    return [...this.#seen].flatMap(([name, { report, ...seen }]) =>
      name !== this.#name && report !== undefined && now - seen.atMs < this.#times.goneMs
        ? [{ ...seen, report }]
        : [],
    );
  }

  /** Tells the others; what is told meanwhile replaces it. */
  publish(report: Report): void {
    this.#own = report;
    this.#packed = undefined;
  }

  /** Until `signal` is aborted; what this replica has told is then taken back. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const watch = this.#reflector().run(signal);
    while (!signal.aborted) {
      await this.#renew(signal);
      this.#notice();
      await pause(this.#times.everyMs * (0.9 + this.#options.random() / 5), signal);
    }
    await watch;
    await this.#takeBack();
  }

  /** Deletes what is left of replicas that have long gone, until `term` is aborted. One replica does it. Never rejects. */
  async sweep(term: AbortSignal): Promise<void> {
    const { api, monotonicMs, onFailing } = this.#options;
    const { sweepMs } = this.#times;
    for (;;) {
      await pause(sweepMs / 5, term);
      if (term.aborted) return;
      for (const [name, { resourceVersion, atMs }] of this.#seen) {
        if (name === this.#name || monotonicMs() - atMs < sweepMs) continue;
        try {
          // Not if it has been renewed meanwhile.
          await api.delete(
            `${this.#collection}/${name}`,
            { preconditions: { resourceVersion } },
            { signal: term },
          );
        } catch (error) {
          const status = asApiServerError(error, name).refused?.status;
          if (!term.aborted && status !== 404 && status !== 409) onFailing(`the left report ${name}`, error);
        }
      }
    }
  }

  #reflector(): Reflector<readonly [string, Omit<Seen, 'atMs'>]> {
    const { api, random, monotonicMs, onFailing, onRecovered } = this.#options;
    const what = 'the reports of other replicas';
    return new Reflector({
      api,
      path: this.#collection,
      labelSelector: LABEL,
      random,
      nowMs: monotonicMs,
      read: (object) => this.#read(object),
      sink: {
        replaced: (objects) => {
          const names = new Set(objects.map(([name]) => name));
          for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
          for (const each of objects) this.#see(each);
          this.#unread = undefined;
          this.#options.onChange();
        },
        set: (each) => {
          this.#see(each);
          this.#options.onChange();
        },
        deleted: ([name]) => {
          this.#seen.delete(name);
          this.#options.onChange();
        },
        absent: () => this.#seen.clear(),
        failed: (error) => {
          const now = monotonicMs();
          this.#unread = {
            sinceMs: this.#unread?.sinceMs ?? now,
            refusedMs: this.#unread?.refusedMs ?? (error.away ? undefined : now),
          };
          onFailing(what, error);
        },
        recovered: () => {
          this.#unread = undefined;
          // Nobody could be seen to renew while nothing was seen.
          for (const [name, seen] of this.#seen) this.#seen.set(name, { ...seen, atMs: monotonicMs() });
          onRecovered(what);
        },
      },
    });
  }

  #read(object: Fields): readonly [string, Omit<Seen, 'atMs'>] {
    const metadata = fieldsAt(object, 'metadata');
    const name = textAt(metadata, 'name') ?? '';
    const annotations = fieldsAt(metadata, 'annotations');
    const seen = {
      identity: textAt(annotations, REPLICA) ?? name,
      pod: textAt(annotations, POD) ?? '',
      resourceVersion: textAt(metadata, 'resourceVersion') ?? '',
    };
    if (name === this.#name) return [name, { ...seen, report: undefined }];
    try {
      const packed = textAt(fieldsAt(object, 'binaryData'), 'report') ?? '';
      return [name, { ...seen, report: unpackReport(Buffer.from(packed, 'base64')) }];
    } catch (error) {
      this.#options.onFailing(`the report ${name}, which is another release's or was edited`, error);
      return [name, { ...seen, report: undefined }];
    }
  }

  #see([name, seen]: readonly [string, Omit<Seen, 'atMs'>]): void {
    if (this.#seen.get(name)?.resourceVersion === seen.resourceVersion) return;
    const atMs = this.#options.monotonicMs();
    this.#seen.set(name, { ...seen, atMs });
    for (const pod of this.#heard.keys()) if (!this.#wasHeard(pod)) this.#heard.delete(pod);
    if (seen.report !== undefined) this.#heard.set(seen.pod, atMs);
  }

  /** Who is gone, or silent, says nothing: it is noticed here. */
  #notice(): void {
    const silent = this.silent('due');
    if (silent.join('\n') !== this.#silent) this.#options.onSilent(silent);
    this.#silent = silent.join('\n');
    const known = [...[...this.others.keys()].toSorted(), ...silent].join('\n');
    if (known !== this.#known) this.#options.onChange();
    this.#known = known;
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { monotonicMs, onFailing, onRecovered } = this.#options;
    if (this.#own === undefined) return;
    const packed = (this.#packed ??= packReport(this.#own));
    const asked = monotonicMs();
    const written = this.#written;
    // One that somebody deletes or edits is there again with the next renewal.
    const fresh = written !== undefined && asked - written.atMs < this.#times.renewMs;
    if (fresh && written.packed.equals(packed)) return;
    const what = 'the own report to the other replicas';
    try {
      await this.#write(packed, signal);
      this.#written = { packed, atMs: asked };
      if (this.#failing) onRecovered(what);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing && !signal.aborted) onFailing(what, error);
      this.#failing = true;
    }
  }

  async #write(packed: Buffer, signal: AbortSignal): Promise<void> {
    const { api, identity, pods } = this.#options;
    this.#sequence += 1;
    const labels = { [LABEL]: 'replica' };
    const annotations = { [REPLICA]: identity, [POD]: pods.own ?? '', [SEQUENCE]: String(this.#sequence) };
    const body = {
      metadata: { name: this.#name, labels, annotations },
      binaryData: { report: packed.toString('base64') },
    };
    const options = { signal, timeoutMs: 5_000 };
    try {
      await api.patch(`${this.#collection}/${this.#name}`, body, options);
    } catch (error) {
      if (!(error instanceof ApiServerError) || error.refused?.status !== 404) throw error;
      await api.post(this.#collection, { apiVersion: 'v1', kind: 'ConfigMap', ...body }, options);
    }
  }

  /** So that nobody waits for this replica any longer. */
  async #takeBack(): Promise<void> {
    if (this.#written === undefined) return;
    try {
      await this.#options.api.delete(`${this.#collection}/${this.#name}`, {}, { timeoutMs: 2_000 });
    } catch (error) {
      this.#options.onFailing('taking back the own report', error);
    }
  }

  get #collection(): string {
    return `/api/v1/namespaces/${this.#options.namespace}/configmaps`;
  }
}

/** As names of objects are written. */
function nameOf(identity: string): string {
  const name = identity
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/gu, '-')
    .replace(/-+$/u, '');
  return `countersign-report-${name}`.slice(0, 253);
}
