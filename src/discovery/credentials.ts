import { isIP } from 'node:net';
import type * as grpc from '@grpc/grpc-js';
import type { Credentials } from './types.ts';

const SCHEME = 'bearer ';

/** What the caller showed. @param peer as grpc-js writes it: `ip:port` without brackets, also for IPv6 */
export function credentialsOf(metadata: grpc.Metadata, peer: string): Credentials {
  const values = metadata.get('authorization');
  return credentialsFrom(values.map(String), peer.slice(0, peer.lastIndexOf(':')));
}

/**
 * What the caller showed. Several authorization values are no credential: none of them can be preferred.
 * @param values of `authorization`
 * @param address of the socket's other end; IPv4 clients of a dual-stack socket are mapped
 */
export function credentialsFrom(values: readonly string[], address: string | undefined): Credentials {
  const [value] = values;
  const bearer = value === undefined || values.length > 1 ? undefined : tokenOf(value);
  return { bearer, peerAddress: address === undefined ? undefined : unmapped(address) };
}

/** Without a pattern over the whole of it: a token has a thousand characters and more. */
function tokenOf(value: string): string | undefined {
  if (value.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return undefined;
  const token = value.slice(SCHEME.length).replace(/^ +/, '');
  return token === '' || /\s/.test(token) ? undefined : token;
}

function unmapped(text: string): string | undefined {
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(address) === 0 ? undefined : address;
}
