import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Authority } from '../../src/authority/index.ts';
import { FederationKeeper, type FederationObserver } from '../../src/federation/index.ts';
import type { Tell } from './home.ts';
import type { LiveSettings } from './live-settings.ts';
import type { Witnesses } from './observers.ts';

/** SHA-256 of a certificate, hex. */
export function fingerprint(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex');
}

/** The bundles of the trust domains that the mesh's settings federate with, now and after each change of them. */
export async function openFederation(
  parts: {
    readonly dataDir: string;
    readonly live: LiveSettings;
    readonly authority: Authority;
    readonly nowMs: () => number;
  },
  witnesses: Witnesses,
  tell: Tell,
  closers: (() => void | Promise<void>)[],
): Promise<FederationKeeper> {
  const { dataDir, live, authority, nowMs } = parts;
  const observer = new Observer(witnesses, tell, nowMs);
  const keeper = await FederationKeeper.open({
    stateFile: join(dataDir, 'federation.json'),
    ownBundle: () => authority.bundle,
    nowMs,
    random: Math.random,
    observer,
  });
  closers.push(() => keeper.close());
  const follow = (): void => {
    const { federation = [] } = live.current;
    observer.want(federation.map(({ trustDomain }) => trustDomain));
    keeper.want(federation);
  };
  follow();
  closers.push(live.onChange(follow));
  return keeper;
}

/** To the log, the metrics, the audit stream and `/readyz`. */
class Observer implements FederationObserver {
  readonly #witnesses: Witnesses;
  readonly #tell: Tell;
  readonly #nowMs: () => number;
  readonly #inForce = new Set<string>();
  #wanted: readonly string[] = [];

  constructor(witnesses: Witnesses, tell: Tell, nowMs: () => number) {
    this.#witnesses = witnesses;
    this.#tell = tell;
    this.#nowMs = nowMs;
  }

  want(names: readonly string[]): void {
    const { metrics } = this.#witnesses;
    for (const name of this.#wanted) {
      if (names.includes(name)) continue;
      this.#tell.remark(remarkOf(name), undefined);
      metrics.federationSequence.remove({ trust_domain: name });
      metrics.federationFetched.remove({ trust_domain: name });
    }
    for (const name of names) {
      if (this.#wanted.includes(name)) continue;
      metrics.federationSequence.set({ trust_domain: name }, -1);
      metrics.federationFetched.set({ trust_domain: name }, 0);
    }
    this.#wanted = names;
  }

  changed: FederationObserver['changed'] = (trustDomain, bundle) => {
    const { log, audit, metrics } = this.#witnesses;
    const before = this.#inForce.has(trustDomain);
    if (bundle === undefined) this.#inForce.delete(trustDomain);
    else this.#inForce.add(trustDomain);
    const change = bundle === undefined ? 'removed' : before ? 'updated' : 'added';
    const sequence = bundle?.sequence ?? -1;
    const roots = (bundle?.x509Authorities ?? []).map(fingerprint);
    if (this.#wanted.includes(trustDomain))
      metrics.federationSequence.set({ trust_domain: trustDomain }, sequence);
    audit.record({ event: 'federation.changed', actor: 'federation', trustDomain, change, sequence, roots });
    const what = bundle === undefined ? 'is trusted no more' : 'has another bundle';
    log.info({ trustDomain, sequence, roots }, `a federated trust domain ${what}`);
  };

  fetched: FederationObserver['fetched'] = (trustDomain) => {
    this.#tell.remark(remarkOf(trustDomain), undefined);
    this.#witnesses.metrics.federationFetched.set({ trust_domain: trustDomain }, this.#nowMs() / 1_000);
  };

  failed: FederationObserver['failed'] = (trustDomain, message, { again, fetchedAtMs }) => {
    const { log, audit, metrics } = this.#witnesses;
    metrics.federationFailures.inc({ trust_domain: trustDomain });
    const lastGood = fetchedAtMs === undefined ? 'never' : new Date(fetchedAtMs).toISOString();
    this.#tell.remark(remarkOf(trustDomain), `no newer bundle, the last one is of ${lastGood}: ${message}`);
    if (again) return;
    audit.record({ event: 'federation.failed', actor: 'federation', trustDomain, detail: message, lastGood });
    log.warn({ trustDomain, lastGood }, `no newer bundle of a federated trust domain: ${message}`);
  };

  notKept: FederationObserver['notKept'] = (error) => {
    this.#witnesses.log.error({ err: error }, 'bundles of federated trust domains could not be kept');
  };
}

function remarkOf(trustDomain: string): string {
  return `federation ${trustDomain}`;
}
