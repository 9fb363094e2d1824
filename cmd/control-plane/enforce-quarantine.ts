import { hash } from 'node:crypto';
import type { CutOff, CutOffAttestor } from '../../src/attestation/index.ts';
import type { IssuedSvid } from '../../src/authority/index.ts';
import type { Proxies } from '../../src/proxy/index.ts';
import {
  isCutOff,
  nextReached,
  reached,
  subjectInWords,
  type Ledger,
  type Suspect,
} from '../../src/quarantine/index.ts';
import type { Logger } from '../../src/telemetry/index.ts';
import type { Quarantine } from './quarantine.ts';

/** Until the streams of who is cut off are ended: what its own Envoy is to deny reaches it before. */
const LAST_PUSH_MS = 1_000;
/** A clock that is behind may be set right before it gets there by itself. */
const LONGEST_WAIT_MS = 10_000;

export interface EnforceParts {
  readonly proxies: Pick<Proxies, 'quarantineChanged' | 'renewOutdated'>;
  readonly attestor: Pick<CutOffAttestor, 'changed'>;
  readonly log: Logger;
  /** By what SVIDs are dated. */
  readonly nowMs: () => number;
}

export function cutOffBy(quarantine: Quarantine, suspect: Suspect): CutOff | undefined {
  const entry = quarantine.entryAgainst(suspect);
  if (entry === undefined) return undefined;
  const { name, reason, subject } = entry;
  return { name, detail: `in quarantine by ${name} (${subjectInWords(subject)}): ${reason}` };
}

/** Whether a certificate is denied for what it is, and not for whose: its holder is to have another. */
export function isDenied(ledger: Ledger, { id, chain: [leaf], issuedAtMs }: IssuedSvid): boolean {
  if (leaf === undefined) return false;
  return isCutOff(ledger, { id: id.uri, digest: hash('sha256', leaf), issuedAtMs });
}

/**
 * From a decision on: every Envoy denies, then whoever holds a certificate that is denied now, and may have another,
 * gets one, as soon as it would not be denied too; and the streams of who may have none are ended. @returns stops it
 */
export function enforceQuarantine(
  quarantine: Quarantine,
  { proxies, attestor, log, nowMs }: EnforceParts,
): () => void {
  const timers = new Set<NodeJS.Timeout>();
  let reaching: NodeJS.Timeout | undefined;
  /** Another replica's now is still to come here. */
  const waitToReach = (): void => {
    clearTimeout(reaching);
    const atMs = nextReached(quarantine.ledger, nowMs());
    if (atMs === undefined) return;
    reaching = setTimeout(
      () => {
        if (nowMs() < atMs) waitToReach();
        else void renewDenied();
      },
      Math.min(atMs - nowMs(), LONGEST_WAIT_MS),
    ).unref();
  };
  const renewDenied = async (): Promise<void> => {
    waitToReach();
    const due = reached(quarantine.ledger, nowMs());
    const left = await proxies.renewOutdated((svid) => isDenied(due, svid), 'ordered');
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
    clearTimeout(reaching);
    for (const timer of timers) clearTimeout(timer);
  };
}
