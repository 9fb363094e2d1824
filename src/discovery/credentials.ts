import { isIP } from 'node:net';
import type * as grpc from '@grpc/grpc-js';
import type { Credentials } from './types.ts';

const BEARER = /^bearer +(?<token>\S+)$/i;

/** What the caller showed. Several authorization values are no credential: none of them can be preferred. */
export function credentialsOf(metadata: grpc.Metadata, peer: string): Credentials {
  const values = metadata.get('authorization');
  const value = values.length === 1 ? values[0] : undefined;
  const bearer = typeof value === 'string' ? BEARER.exec(value)?.groups?.['token'] : undefined;
  return { bearer, peerAddress: peerAddress(peer) };
}

/** grpc-js writes `ip:port` without brackets, also for IPv6; IPv4 clients of a dual-stack socket are mapped. */
function peerAddress(peer: string): string | undefined {
  const address = peer.slice(0, peer.lastIndexOf(':')).replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(address) === 0 ? undefined : address;
}
