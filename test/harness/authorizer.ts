import { createServer } from 'node:http';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';

/** An external authorizer that refuses what carries this header, and allows the rest. */
export const refusedHeader = 'x-verdict-bad';

export interface Authorizer {
  readonly port: number;
  /** How often it was asked. */
  readonly asked: number;
  close(): void;
}

/** @param port 0: chosen by the system */
export async function grpcAuthorizer(port = 0): Promise<Authorizer> {
  let asked = 0;
  const server = new GrpcServer();
  const bytes = (value: Buffer): Buffer => value;
  server.addService(
    {
      Check: {
        path: '/envoy.service.auth.v3.Authorization/Check',
        requestStream: false,
        responseStream: false,
        requestSerialize: bytes,
        requestDeserialize: bytes,
        responseSerialize: bytes,
        responseDeserialize: bytes,
      },
    },
    {
      // `CheckResponse`: an empty status is OK, one with code 7 is PERMISSION_DENIED.
      Check: ({ request }: { request: Buffer }, answer: (error: null, response: Buffer) => void): void => {
        asked += 1;
        answer(null, request.includes(refusedHeader) ? Buffer.from([10, 2, 8, 7]) : Buffer.from([10, 0]));
      },
    },
  );
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, chosen) =>
      error === null ? resolve(chosen) : reject(error),
    );
  });
  return {
    port: bound,
    get asked(): number {
      return asked;
    },
    close: () => server.forceShutdown(),
  };
}

/** It answers below `/check/` only. */
export async function httpAuthorizer(): Promise<Authorizer> {
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    const known = request.url?.startsWith('/check/') === true;
    response.statusCode = known && request.headers[refusedHeader] === undefined ? 200 : 401;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    get asked(): number {
      return asked;
    },
    close: (): void => {
      server.close();
      server.closeAllConnections();
    },
  };
}
