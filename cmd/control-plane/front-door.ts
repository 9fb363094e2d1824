import { createServer as createListener, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { ListenAddress } from './config.ts';
import { explainListen } from './listen.ts';
import type { ServingCertificate } from './serving-certificate.ts';

/** The port that everybody comes to: accepts, and does the TLS handshakes. */
export interface FrontDoor {
  readonly port: number;
  /** Lets nobody in any more, nor who is shaking hands; whoever is in stays. */
  close(): void;
  /** Resolves when everybody has left; whoever has not after that time is cut off. */
  emptied(withinMs: number): Promise<void>;
}

/**
 * How many handshakes begin in one turn of the event loop. One is about a millisecond of work that nothing can
 * interrupt: when thousands come at once, whoever is in already must not wait for all of them.
 */
const HANDSHAKES_A_TURN = 4;
/** Connections that wait to be accepted. The system may allow fewer (`net.core.somaxconn`, 4,096). */
const BACKLOG = 4_096;
const HANDSHAKE_TIMEOUT_MS = 10_000;

/**
 * @param onConnection told of each connection after its handshake
 * @throws Error that says which flag to change
 */
export async function openFrontDoor(options: {
  readonly listen: ListenAddress;
  readonly certificate: ServingCertificate;
  readonly onConnection: (socket: TLSSocket) => void;
  /** The system could not accept a connection (no memory, no descriptors). The next one is tried. */
  readonly onError: (error: Error) => void;
}): Promise<FrontDoor> {
  const { listen, certificate, onConnection, onError } = options;
  const connections = new Set<Socket>();
  const waiting: Socket[] = [];
  let turn: NodeJS.Immediate | undefined;
  let closed = false;

  const tls = createTlsServer({
    ...certificate.current,
    ALPNProtocols: ['h2'],
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  certificate.onContext((context) => tls.setSecureContext(context));
  tls.on('secureConnection', (socket) => {
    // Whoever breaks off is no news: 'close' follows, and that is what is listened to.
    socket.on('error', () => socket.destroy());
    if (socket.alpnProtocol === 'h2' && !closed) onConnection(socket);
    else socket.destroy();
  });

  const begin = (): void => {
    turn = undefined;
    for (const socket of waiting.splice(0, HANDSHAKES_A_TURN)) tls.emit('connection', socket);
    if (waiting.length > 0) turn = setImmediate(begin);
  };
  const listener = createListener({ pauseOnConnect: true, noDelay: true }, (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    socket.on('error', () => socket.destroy());
    waiting.push(socket);
    turn ??= setImmediate(begin);
  });
  const port = await explainListen(
    '--listen',
    listen,
    () =>
      new Promise<number>((resolve, reject) => {
        listener.once('error', reject);
        listener.listen({ host: listen.host, port: listen.port, backlog: BACKLOG }, () => {
          listener.off('error', reject).on('error', onError);
          const bound = listener.address();
          resolve(typeof bound === 'object' && bound !== null ? bound.port : listen.port);
        });
      }),
  );
  return {
    port,
    close: (): void => {
      closed = true;
      listener.close();
      clearImmediate(turn);
      for (const socket of waiting.splice(0)) socket.destroy();
    },
    emptied: async (withinMs): Promise<void> => {
      const cut = setTimeout(() => {
        for (const socket of connections) socket.destroy();
      }, withinMs);
      await Promise.all(
        [...connections].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
      );
      clearTimeout(cut);
    },
  };
}
