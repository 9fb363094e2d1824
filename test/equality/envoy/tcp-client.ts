import type net from 'node:net';

export interface TcpAnswer {
  readonly status: 'echoed' | 'ended';
  /** Of the client, as the access log names it. */
  readonly source: string;
}

/**
 * Sends some bytes, for that is when Envoy's network filters judge, and waits for an echo or for the end. Fewer than a
 * TLS record's head would keep the inspector waiting on a plaintext door.
 */
export async function sayHello(socket: net.Socket): Promise<TcpAnswer> {
  const { localAddress = '', localPort = 0 } = socket;
  const source = localAddress.includes(':')
    ? `[${localAddress}]:${localPort}`
    : `${localAddress}:${localPort}`;
  const status = await new Promise<TcpAnswer['status']>((resolve) => {
    socket.once('data', () => resolve('echoed'));
    socket.once('close', () => resolve('ended'));
    socket.once('error', () => resolve('ended'));
    socket.write('hello, Envoy');
  });
  socket.destroy();
  return { status, source };
}
