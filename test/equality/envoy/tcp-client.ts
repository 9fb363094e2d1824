import type net from 'node:net';

/**
 * Sends some bytes, for that is when Envoy's network filters judge, and waits for an echo or for the end. Fewer than a
 * TLS record's head would keep the inspector waiting on a plaintext door.
 */
export async function sayHello(socket: net.Socket): Promise<'echoed' | 'ended'> {
  const status = await new Promise<'echoed' | 'ended'>((resolve) => {
    socket.once('data', () => resolve('echoed'));
    socket.once('close', () => resolve('ended'));
    socket.once('error', () => resolve('ended'));
    socket.write('hello, Envoy');
  });
  socket.destroy();
  return status;
}
