import type { SecureContextOptions } from 'node:tls';
import { renewalTime, type Authority, type IssuedSvid } from '../../src/authority/index.ts';
import type { SpiffeId } from '../../src/identity/index.ts';

const tls13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
/** A renewal that failed is tried again this soon. */
const retryMs = 10_000;
/** Longer waits are taken in steps, so that a clock that was set is noticed. */
const longestTimerMs = 60_000;

/** PEM; TLS 1.3 only. */
export type ServingContext = SecureContextOptions & { readonly cert: string; readonly key: string };

/** @param crossChainPem for clients that know former roots alone */
function contextOf(svid: IssuedSvid, crossChainPem: string): ServingContext {
  return { ...tls13, cert: svid.chainPem + crossChainPem, key: svid.privateKeyPem };
}

export interface ServingOptions {
  readonly authority: Authority;
  readonly id: SpiffeId;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly nowMs: () => number;
  readonly onRenewed: (svid: IssuedSvid) => void;
  readonly onError: (error: Error) => void;
}

/** A certificate of the control plane's own, from its own authority: renewed at half-life and when another root signs. */
export interface ServingCertificate {
  /** The one in force: whoever listens later than it was made reads a newer one here. */
  readonly current: ServingContext;
  /** Called with each that follows. */
  onContext(listener: (context: ServingContext) => void): void;
  /** The clock was set, or time passed that no timer saw: what is due is renewed now. */
  clockMoved(): void;
  close(): void;
}

export function servingCertificate(options: ServingOptions): ServingCertificate {
  const { authority, id, dnsNames, ipAddresses, nowMs, onRenewed, onError } = options;
  const issue = (): IssuedSvid => authority.issue(id, { dnsNames, ipAddresses });
  const listeners: ((context: ServingContext) => void)[] = [];
  let timer: NodeJS.Timeout | undefined;
  const schedule = (atMs: number): void => {
    const waitMs = Math.max(0, atMs - nowMs());
    timer =
      waitMs > longestTimerMs ? setTimeout(() => schedule(atMs), longestTimerMs) : setTimeout(renew, waitMs);
    timer.unref();
  };
  let renewAtMs = 0;
  const renewAt = (atMs: number): void => {
    renewAtMs = atMs;
    schedule(atMs);
  };
  const svid = issue();
  let current = contextOf(svid, authority.crossChainPem);
  onRenewed(svid);
  renewAt(renewalTime(svid, Math.random));

  function renew(): void {
    try {
      const next = issue();
      current = contextOf(next, authority.crossChainPem);
      for (const listener of listeners) listener(current);
      onRenewed(next);
      renewAt(renewalTime(next, Math.random));
    } catch (error) {
      onError(error instanceof Error ? error : new Error(String(error)));
      renewAt(nowMs() + retryMs);
    }
  }
  const unsubscribe = authority.onSignerChange(() => {
    clearTimeout(timer);
    renew();
  });
  return {
    get current(): ServingContext {
      return current;
    },
    onContext: (listener) => void listeners.push(listener),
    clockMoved: (): void => {
      clearTimeout(timer);
      schedule(renewAtMs);
    },
    close: (): void => {
      unsubscribe();
      clearTimeout(timer);
    },
  };
}
