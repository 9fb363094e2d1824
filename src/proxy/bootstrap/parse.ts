import ipaddr from 'ipaddr.js';
import { SpiffeId } from '../../identity/index.ts';
import type { Endpoint, Inbound, ListenerProtocol, Outbound } from './types.ts';

/** A flag of `countersign bootstrap` that cannot be used. The message names the flag, the value and the form. */
export class BootstrapError extends Error {
  readonly code = 'BOOTSTRAP_FLAG';
}

/** `HOST:PORT` or `[IPV6]:PORT`; the host an IP address, or (where `allowName`) a DNS name. */
export function parseEndpoint(flag: string, text: string, allowName: boolean): Endpoint {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:[\]]+)):(?<port>[0-9]{1,5})$/u.exec(text);
  const host = match?.groups?.['v6'] ?? match?.groups?.['host'];
  const port = Number(match?.groups?.['port']);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new BootstrapError(
      `${flag}: ${JSON.stringify(text)} is not an address: write HOST:PORT or [IPV6]:PORT, port 1 to 65535`,
    );
  }
  if (ipaddr.isValid(host)) return { address: host, port };
  if (allowName && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/iu.test(host)) return { address: host, port };
  throw new BootstrapError(
    `${flag}: ${JSON.stringify(host)} is not ${allowName ? 'an IP address or a DNS name' : 'an IP address'}`,
  );
}

interface Scheme {
  readonly protocol: ListenerProtocol;
  readonly http: 1 | 2;
  readonly rest: string;
}

function splitScheme(text: string): Scheme {
  const [, scheme = 'http', rest = ''] = /^(?:(http2|http|tcp):)?(.*)$/su.exec(text) ?? [];
  return { protocol: scheme === 'tcp' ? 'tcp' : 'http', http: scheme === 'http2' ? 2 : 1, rest };
}

/** `[http:|http2:|tcp:]LISTEN=APP`; the scheme is what the app speaks. */
export function parseInbound(text: string): Inbound {
  const { protocol, http, rest } = splitScheme(text);
  const [listen, app, ...more] = rest.split('=');
  if (listen === undefined || app === undefined || more.length > 0) {
    throw new BootstrapError(
      `--inbound: ${JSON.stringify(text)}: write [http2:|tcp:]LISTEN=APP, for example 10.0.0.7:8080=127.0.0.1:8080`,
    );
  }
  return {
    protocol,
    listen: parseEndpoint('--inbound', listen, false),
    app: parseEndpoint('--inbound', app, true),
    appHttp: http,
  };
}

/** `[http:|tcp:]LISTEN=UPSTREAM=SPIFFEID`. */
export function parseOutbound(text: string): Outbound {
  const { protocol, rest } = splitScheme(text);
  const [listen, upstream, spiffeId, ...more] = rest.split('=');
  if (listen === undefined || upstream === undefined || spiffeId === undefined || more.length > 0) {
    throw new BootstrapError(
      `--outbound: ${JSON.stringify(text)}: write [tcp:]LISTEN=UPSTREAM=SPIFFEID, for example 127.0.0.1:9001=10.0.0.8:8080=spiffe://cluster.local/ns/shop/sa/cart`,
    );
  }
  try {
    return {
      protocol,
      listen: parseEndpoint('--outbound', listen, false),
      upstream: parseEndpoint('--outbound', upstream, true),
      spiffeId: SpiffeId.parse(spiffeId).uri,
    };
  } catch (error) {
    if (error instanceof BootstrapError || !(error instanceof Error)) throw error;
    throw new BootstrapError(`--outbound: ${error.message}`, { cause: error });
  }
}
