import net from 'node:net';
import tls from 'node:tls';
import type { Asked } from '../case.ts';
import { DOOR_ADDRESSES, PROXIED_DESTINATION6, type Door, type Peer } from '../world.ts';
import { nameOf, type Certificates } from './certificates.ts';
import { proxyHeader } from './proxy-protocol.ts';

/** The listener that a question goes to. */
export function doorOf(asked: Asked, protocol: 'http' | 'tcp'): Door {
  if (asked.peer.kind === 'plaintext') return 'plaintext';
  if (asked.peer.kind !== 'svid') return 'open';
  if (asked.ipv6) return 'sidecar6';
  if (asked.proxied !== undefined) return 'proxied';
  return protocol === 'http' && asked.forwardedFor !== undefined ? 'forwarded' : 'sidecar';
}

/** Address of the client, as the listener sees it. */
export function sourceOf(asked: Asked, door: Door): string {
  return door === 'sidecar6' ? '::1' : asked.source;
}

/** Address that somebody in front names as the client's; undefined: nobody does. */
export function remoteOf(asked: Asked, door: Door): string | undefined {
  if (door === 'proxied') return asked.proxied;
  return door === 'forwarded' ? asked.forwardedFor : undefined;
}

/** Address of the listener, as it sees itself. */
export function destinationOf(asked: Asked, door: Door): string {
  const through6 = door === 'proxied' && asked.proxied?.includes(':') === true;
  return through6 ? PROXIED_DESTINATION6 : DOOR_ADDRESSES[door];
}

export interface Line {
  readonly asked: Asked;
  readonly door: Door;
  readonly port: number;
  readonly alpn: string | undefined;
}

/** One text for all questions that can share a connection. */
export function lineName({ asked, door, port, alpn }: Line): string {
  const from = [sourceOf(asked, door), door === 'proxied' ? (asked.proxied ?? '') : ''];
  return [nameOf(asked.peer), door, port, ...from, asked.sni ?? '', alpn ?? ''].join(' ');
}

/** An open connection: mTLS where the door speaks it. @throws Error where it cannot be made */
export async function connect(line: Line, certificates: Certificates): Promise<net.Socket> {
  const { asked, door, port, alpn } = line;
  const [host, localAddress] = [DOOR_ADDRESSES[door], sourceOf(asked, door)];
  const plain = net.connect({ host, port, localAddress, noDelay: true });
  if (door === 'plaintext') return await opened(plain, 'connect');
  await opened(plain, 'connect');
  if (door === 'proxied')
    plain.write(proxyHeader(asked, plain.localPort ?? 0, [destinationOf(asked, door), port]));
  const socket = tls.connect({
    socket: plain,
    // Who the server is, is not the question here.
    rejectUnauthorized: false,
    ...(asked.sni !== undefined && { servername: asked.sni }),
    ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
    secureContext: contextOf(asked.peer, certificates),
  });
  return await opened(socket, 'secureConnect');
}

/** An address and a port, as Envoy writes them. */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
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
