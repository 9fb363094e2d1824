import { hash } from 'node:crypto';
import type { StreamStatus } from '../../src/discovery/index.ts';
import { EXTENSION_CONFIG_TYPE, type Proxies } from '../../src/proxy/index.ts';
import { entryAgainst, nextReached, type Ledger } from '../../src/quarantine/index.ts';
import { proxyStates, type QuarantineReport, type Report } from '../../src/status/index.ts';
import { isDenied } from './enforce-quarantine.ts';

const DENY = /^countersign\.authz\.(http|tcp)\.deny$/u;
/** Of those who lag, in an answer and a report. */
const MAX_NAMED = 20;

/**
 * How far the quarantine as it stands has come among the Envoys of this replica, and who is still cut off by it that is
 * not meant: its certificate is to be replaced.
 */
export function enforcedHere(
  ledger: Ledger,
  proxies: Pick<Proxies, 'versionOf' | 'holding'>,
  streams: readonly StreamStatus[],
  nowMs: number,
): QuarantineReport {
  const states = proxyStates(streams, EXTENSION_CONFIG_TYPE, (client, typeUrl, name) =>
    DENY.test(name) ? proxies.versionOf(client, typeUrl, name) : undefined,
  );
  const lagging = [...states].flatMap(([client, state]) => {
    if (state.kind === 'current') return [];
    return state.kind === 'rejected'
      ? [`${client} refused the filter: ${state.message}`]
      : [`${client} has not acknowledged it yet`];
  });
  return {
    entries: digestOf(ledger),
    proxies: states.size,
    current: states.size - lagging.length,
    lagging: [...lagging, ...notRenewed(ledger, proxies, nowMs)].slice(0, MAX_NAMED),
  };
}

function notRenewed(ledger: Ledger, proxies: Pick<Proxies, 'holding'>, nowMs: number): readonly string[] {
  const ofCertificates = ledger.entries.some(
    ({ subject: { kind } }) => kind === 'certificate' || kind === 'issued-before',
  );
  if (!ofCertificates) return [];
  const atMs = nextReached(ledger, nowMs);
  const why =
    atMs === undefined
      ? 'it could not be renewed yet'
      : `it is renewed when the clock of its replica, which is behind, has reached ${new Date(atMs).toISOString()}`;
  return proxies
    .holding((svid) => isDenied(ledger, svid))
    .filter(({ id, pod }) => entryAgainst(ledger, { id: id.uri, pod }) === undefined)
    .map(({ pod }) => `${pod.namespace}/${pod.name} holds a certificate that is denied: ${why}`);
}

/** The same of all replicas that live. @param silent those that do not report, in words */
export function enforcedEverywhere(
  own: QuarantineReport,
  others: ReadonlyMap<string, Report>,
  silent: readonly string[],
): Omit<QuarantineReport, 'entries'> {
  let { proxies, current } = own;
  const lagging = [...own.lagging, ...silent];
  for (const [replica, { quarantine }] of others) {
    if (quarantine === undefined) {
      lagging.push(`replica ${replica} does not say: it is of an earlier release`);
      continue;
    }
    proxies += quarantine.proxies;
    if (quarantine.entries === own.entries) {
      current += quarantine.current;
      lagging.push(...quarantine.lagging);
    } else {
      lagging.push(`replica ${replica} does not report these entries yet`);
    }
  }
  return { proxies, current, lagging };
}

/** Equal for equal entries. They never change. */
function digestOf({ entries }: Ledger): string {
  return hash('sha256', entries.map(({ name }) => name).join()).slice(0, 16);
}
