import net from 'node:net';
import tls from 'node:tls';
import type { Asked } from '../case.ts';
import { DOOR_ADDRESSES, type Door, type Peer } from '../world.ts';
import { nameOf, type Certificates } from './certificates.ts';

/** The listener that a question goes to. */
export function doorOf(asked: Asked, protocol: 'http' | 'tcp'): Door {
  if (asked.peer.kind === 'plaintext') return 'plaintext';
  if (asked.peer.kind !== 'svid') return 'open';
  if (asked.ipv6) return 'sidecar6';
  return protocol === 'http' && asked.forwardedFor !== undefined ? 'forwarded' : 'sidecar';
}

/** Address of the client, as the listener sees it. */
export function sourceOf(asked: Asked, door: Door): string {
  return door === 'sidecar6' ? '::1' : asked.source;
}

export interface Line {
  readonly asked: Asked;
  readonly door: Door;
  readonly port: number;
  readonly alpn: string | undefined;
}

/** One text for all questions that can share a connection. */
export function lineName({ asked, door, port, alpn }: Line): string {
  return [nameOf(asked.peer), door, port, sourceOf(asked, door), asked.sni ?? '', alpn ?? ''].join(' ');
}

/** An open connection: mTLS where the door speaks it. @throws Error where it cannot be made */
export async function connect(line: Line, certificates: Certificates): Promise<net.Socket> {
  const { asked, door, port, alpn } = line;
  const [host, localAddress] = [DOOR_ADDRESSES[door], sourceOf(asked, door)];
  const plain = net.connect({ host, port, localAddress, noDelay: true });
  if (door === 'plaintext') return await opened(plain, 'connect');
  const socket = tls.connect({
    socket: await opened(plain, 'connect'),
    // Who the server is, is not the question here.
    rejectUnauthorized: false,
    ...(asked.sni !== undefined && { servername: asked.sni }),
    ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
    secureContext: contextOf(asked.peer, certificates),
  });
  return await opened(socket, 'secureConnect');
}

const contexts = new WeakMap<Certificates, Map<string, tls.SecureContext>>();

/** Reading a key is dear: once for each peer. */
function contextOf(peer: Peer, certificates: Certificates): tls.SecureContext {
  const known = contexts.get(certificates) ?? new Map<string, tls.SecureContext>();
  contexts.set(certificates, known);
  const name = nameOf(peer);
  const context = known.get(name) ?? tls.createSecureContext(certificates.of(peer));
  known.set(name, context);
  return context;
}

async function opened<T extends net.Socket>(socket: T, event: string): Promise<T> {
  return await new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once(event, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
