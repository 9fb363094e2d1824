/** The load's own process: agents that ask for a certificate again and again. */
import { connect, type ClientHttp2Session } from 'node:http2';
import { connect as connectTls, createSecureContext, type ConnectionOptions } from 'node:tls';
import protobuf from 'protobufjs';
import { root } from '../harness/paths.ts';
import type { CallersProtocol, CallersTarget } from './callers.ts';
import { frame } from './grpc-frames.ts';
import { serve } from './ipc.ts';

interface Caller {
  readonly session: ClientHttp2Session;
  readonly headers: Readonly<Record<string, string>>;
  readonly message: Buffer;
}

const requestType = protobuf
  .loadSync(`${root}proto/istio/v1/auth/ca.proto`)
  .lookupType('istio.v1.auth.IstioCertificateRequest');
let callers: readonly Caller[] = [];

function open({ port, serverName, authorities, sidecars, requests }: CallersTarget): void {
  const secureContext = createSecureContext({ ca: authorities });
  callers = sidecars.map(({ token, address }, at) => {
    const options: ConnectionOptions & { readonly localAddress: string } = {
      host: '127.0.0.1',
      port,
      localAddress: address,
      secureContext,
      servername: serverName,
      ALPNProtocols: ['h2'],
    };
    const request = requestType.create({ csr: requests[at] ?? '', validityDuration: 3_600 });
    return {
      session: connect(`https://${serverName}`, { createConnection: () => connectTls(options) }),
      message: frame(requestType.encode(request).finish()),
      headers: {
        ':method': 'POST',
        ':path': '/istio.v1.auth.IstioCertificateService/CreateCertificate',
        'content-type': 'application/grpc',
        te: 'trailers',
        authorization: `Bearer ${token}`,
      },
    };
  });
}

async function call({ session, headers, message }: Caller): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const stream = session.request(headers);
    let bytes = 0;
    let status: unknown;
    stream.on('data', (piece: Buffer) => (bytes += piece.length));
    stream.on('response', (response) => (status = response['grpc-status']));
    stream.on('trailers', (trailers) => (status = trailers['grpc-status']));
    stream.on('error', reject);
    stream.on('close', () => {
      if (status === '0' && bytes > 1_000) resolve();
      else reject(new Error(`answered with status ${String(status)} and ${bytes} bytes`));
    });
    stream.end(message);
  });
}

async function callAll(count: number): Promise<undefined> {
  let left = count;
  await Promise.all(
    callers.map(async (caller) => {
      while (left > 0) {
        left -= 1;
        await call(caller);
      }
    }),
  );
  return undefined;
}

serve<CallersProtocol>({
  open: (target) => {
    open(target);
    return undefined;
  },
  call: callAll,
  close: () => {
    for (const { session } of callers) session.destroy();
    callers = [];
    return undefined;
  },
});
// Alive until it is told to call.
setInterval(() => {}, 60_000);
