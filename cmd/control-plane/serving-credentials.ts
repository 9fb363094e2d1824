import type { SecureContextOptions } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import { renewalTime, type Authority, type IssuedSvid } from '../../src/authority/index.ts';
import type { SpiffeId } from '../../src/identity/index.ts';

const tls13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
/** A renewal that failed is tried again this soon. */
const retryMs = 10_000;

/** grpc-js' server credentials whose certificate can be replaced while connections go on. */
class RenewableCredentials extends grpc.ServerCredentials {
  constructor(context: SecureContextOptions) {
    super({ ...tls13 }, context);
  }

  replace(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: grpc.ServerCredentials): boolean {
    return this === other;
  }
}

/** @param crossChainPem for clients that know former roots alone */
function contextOf(svid: IssuedSvid, crossChainPem: string): SecureContextOptions {
  return { ...tls13, cert: svid.chainPem + crossChainPem, key: svid.privateKeyPem };
}

export interface ServingCredentials {
  readonly credentials: grpc.ServerCredentials;
  close(): void;
}

/** The control plane's own certificate: from its own authority, TLS 1.3 only, renewed at half-life and when another root signs. */
export function servingCredentials(options: {
  readonly authority: Authority;
  readonly id: SpiffeId;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly nowMs: () => number;
  readonly onRenewed: (svid: IssuedSvid) => void;
  readonly onError: (error: Error) => void;
}): ServingCredentials {
  const { authority, id, dnsNames, ipAddresses, nowMs, onRenewed, onError } = options;
  const issue = (): IssuedSvid => authority.issue(id, { dnsNames, ipAddresses });
  let timer: NodeJS.Timeout | undefined;
  const schedule = (atMs: number): void => {
    timer = setTimeout(renew, Math.max(0, atMs - nowMs()));
    timer.unref();
  };
  const first = issue();
  const credentials = new RenewableCredentials(contextOf(first, authority.crossChainPem));
  onRenewed(first);
  schedule(renewalTime(first, Math.random));

  function renew(): void {
    try {
      const svid = issue();
      credentials.replace(contextOf(svid, authority.crossChainPem));
      onRenewed(svid);
      schedule(renewalTime(svid, Math.random));
    } catch (error) {
      onError(error instanceof Error ? error : new Error(String(error)));
      schedule(nowMs() + retryMs);
    }
  }
  const unsubscribe = authority.onSignerChange(() => {
    clearTimeout(timer);
    renew();
  });
  return {
    credentials,
    close: (): void => {
      unsubscribe();
      clearTimeout(timer);
    },
  };
}
