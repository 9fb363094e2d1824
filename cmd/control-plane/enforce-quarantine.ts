import { hash } from 'node:crypto';
import type { CutOff, CutOffAttestor } from '../../src/attestation/index.ts';
import type { IssuedSvid } from '../../src/authority/index.ts';
import type { Proxies } from '../../src/proxy/index.ts';
import { isCutOff, subjectInWords, type Suspect } from '../../src/quarantine/index.ts';
import type { Logger } from '../../src/telemetry/index.ts';
import type { Quarantine } from './quarantine.ts';

/** Until the streams of who is cut off are ended: what its own Envoy is to deny reaches it before. */
const LAST_PUSH_MS = 1_000;

export function cutOffBy(quarantine: Quarantine, suspect: Suspect): CutOff | undefined {
  const entry = quarantine.entryAgainst(suspect);
  if (entry === undefined) return undefined;
  const { name, reason, subject } = entry;
  return { name, detail: `in quarantine by ${name} (${subjectInWords(subject)}): ${reason}` };
}

/**
 * From a decision on: every Envoy denies, then whoever holds a certificate that is denied now, and may have another,
 * gets one; and the streams of who may have none are ended. @returns stops it
 */
export function enforceQuarantine(
  quarantine: Quarantine,
  { proxies, attestor, log }: { proxies: Proxies; attestor: CutOffAttestor; log: Logger },
): () => void {
  const timers = new Set<NodeJS.Timeout>();
  const isDenied = (svid: IssuedSvid): boolean => {
    const [leaf] = svid.chain;
    if (leaf === undefined) return false;
    const held = { id: svid.id.uri, digest: hash('sha256', leaf), issuedAtMs: svid.issuedAtMs };
    return isCutOff(quarantine.ledger, held);
  };
  const renewDenied = async (): Promise<void> => {
    const left = await proxies.renewOutdated(isDenied, 'ordered');
    if (left > 0) log.warn({ left }, 'SVIDs that are denied now could not be renewed; each is tried again');
  };
  const unsubscribe = quarantine.onChange(() => {
    proxies.quarantineChanged();
    const timer = setTimeout(() => {
      timers.delete(timer);
      attestor.changed();
    }, LAST_PUSH_MS).unref();
    timers.add(timer);
    void renewDenied();
  });
  return () => {
    unsubscribe();
    for (const timer of timers) clearTimeout(timer);
  };
}
