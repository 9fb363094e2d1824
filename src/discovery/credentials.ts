import { isIP } from 'node:net';
import type * as grpc from '@grpc/grpc-js';
import type { Credentials } from './types.ts';

const SCHEME = 'bearer ';

/** What the caller showed. Several authorization values are no credential: none of them can be preferred. */
export function credentialsOf(metadata: grpc.Metadata, peer: string): Credentials {
  const values = metadata.get('authorization');
  const value = values.length === 1 ? values[0] : undefined;
  return { bearer: typeof value === 'string' ? tokenOf(value) : undefined, peerAddress: peerAddress(peer) };
}

/** Without a pattern over the whole of it: a token has a thousand characters and more. */
function tokenOf(value: string): string | undefined {
  if (value.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return undefined;
  const token = value.slice(SCHEME.length).replace(/^ +/, '');
  return token === '' || /\s/.test(token) ? undefined : token;
}

/** grpc-js writes `ip:port` without brackets, also for IPv6; IPv4 clients of a dual-stack socket are mapped. */
function peerAddress(peer: string): string | undefined {
  const address = peer.slice(0, peer.lastIndexOf(':')).replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(address) === 0 ? undefined : address;
}
