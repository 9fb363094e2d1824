import { createServer } from 'node:http';
import { createServer as createTcpServer, type Server } from 'node:net';

export interface App {
  readonly port: number;
  close(): void;
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Says its name, what it was asked, and by whom, as its sidecar proved it. */
export async function httpApp(name: string): Promise<App> {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ app: name, path: request.url, client: request.headers['x-forwarded-client-cert'] }),
    );
  });
  return {
    port: await listening(server),
    close: (): void => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Sends back what it gets. */
export async function echoApp(): Promise<App> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  return { port: await listening(server), close: () => void server.close() };
}
