import type { KubernetesReport } from '../../src/sources/kubernetes/index.ts';
import type { Metrics } from '../../src/telemetry/index.ts';
import type { Tell } from './home.ts';

/** What `/readyz` says while the API server, or a part of it, cannot be followed. */
const REMARK = 'api-server';

/** Which resources of the API server are known only as they were: in `/readyz`, and counted in the metrics. */
export class Unfollowed {
  readonly #metrics: Pick<Metrics, 'unfollowed'>;
  readonly #remark: Tell['remark'];
  readonly #nowMs: () => number;
  readonly #resources = new Set<string>();
  /** Nothing was listed by this process: an earlier run's knowledge is in force. */
  #remembered = false;
  #sinceMs: number | undefined;

  constructor(metrics: Pick<Metrics, 'unfollowed'>, remark: Tell['remark'], nowMs: () => number) {
    this.#metrics = metrics;
    this.#remark = remark;
    this.#nowMs = nowMs;
    metrics.unfollowed.set(0);
  }

  take(report: KubernetesReport): void {
    if (report.kind === 'failing') this.#resources.add(report.resource);
    else if (report.kind === 'recovered') this.#resources.delete(report.resource);
    else if (report.kind === 'remembered') this.#remembered = true;
    else if (report.kind === 'synced') this.#remembered = false;
    else return;
    this.#tell();
  }

  #tell(): void {
    this.#metrics.unfollowed.set(this.#resources.size);
    if (this.#resources.size === 0 && !this.#remembered) {
      this.#sinceMs = undefined;
      this.#remark(REMARK, undefined);
      return;
    }
    this.#sinceMs ??= this.#nowMs();
    const since = new Date(this.#sinceMs).toISOString();
    const what = this.#remembered ? 'everything, as an earlier run knew it' : this.#list();
    this.#remark(REMARK, `not followed since ${since}: ${what}; what is known stays in force`);
  }

  #list(): string {
    return [...this.#resources].toSorted().join(', ');
  }
}
