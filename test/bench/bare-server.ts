/**
 * What the fleet's rows are held against: a grpc-js server in the control plane's place that proves nobody, decides
 * nothing, and writes bytes that were encoded before.
 */
import { watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { createServer } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import {
  certificateMethod,
  deltaMethod,
  type BareContent,
  type BareProtocol,
  type Certificate,
} from './bare.ts';
import { verificationAndSignature } from './crypto-limits.ts';
import { serve } from './ipc.ts';

type BytesCall = grpc.ServerDuplexStream<Uint8Array, Uint8Array>;

export const bareScript: URL = new URL(import.meta.url);

const tls13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;

class BareCredentials extends grpc.ServerCredentials {
  constructor({ chain, key }: Certificate) {
    super({ ...tls13 }, { ...tls13, cert: chain, key });
  }

  override _equals(other: grpc.ServerCredentials): boolean {
    return this === other;
  }
}

async function serveStreams({
  messages,
  changes,
  watchedFile,
  ...certificate
}: Certificate & BareContent): Promise<number> {
  const [first = Buffer.alloc(0), ...rest] = messages;
  const streams = new Set<BytesCall>();
  const handler = (call: BytesCall): void => {
    let requests = 0;
    streams.add(call);
    call.once('close', () => streams.delete(call));
    call.on('error', () => call.destroy());
    call.on('data', () => {
      requests += 1;
      if (requests === 1) call.write(first);
      if (requests === 2) for (const message of rest) call.write(message);
    });
  };
  const server = new grpc.Server();
  addMethod(server, deltaMethod, true, handler);
  const waiting = changes.values();
  const watcher: FSWatcher = watch(dirname(watchedFile), { persistent: false }, (_event, changed) => {
    if (changed !== basename(watchedFile)) return;
    const next = waiting.next();
    if (next.done !== true) for (const call of streams) call.write(next.value);
  });
  process.once('SIGTERM', () => {
    watcher.close();
    server.forceShutdown();
    process.exit();
  });
  return await listen(server, certificate);
}

async function serveCertificates({
  answer,
  ...certificate
}: Certificate & { readonly answer: Uint8Array }): Promise<number> {
  const work = verificationAndSignature();
  const server = new grpc.Server({ 'grpc.enable_channelz': 0 });
  addMethod(
    server,
    certificateMethod,
    false,
    (_call: unknown, callback: grpc.sendUnaryData<Uint8Array>): void => {
      work();
      callback(null, answer);
    },
  );
  return await listen(server, certificate);
}

function addMethod(
  server: grpc.Server,
  path: string,
  streams: boolean,
  handler: grpc.UntypedHandleCall,
): void {
  const same = (bytes: Buffer): Buffer => bytes;
  const [, service = '', name = ''] = path.split('/');
  server.addService(
    {
      [name]: {
        path: `/${service}/${name}`,
        requestStream: streams,
        responseStream: streams,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    { [name]: handler },
  );
}

async function listen(server: grpc.Server, certificate: Certificate): Promise<number> {
  return await new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', new BareCredentials(certificate), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

async function serveHandshakes({ chain, key }: Certificate): Promise<number> {
  const server = createServer({ ...tls13, cert: chain, key, ALPNProtocols: ['h2'] }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

serve<BareProtocol>({ streams: serveStreams, certificates: serveCertificates, handshakes: serveHandshakes });
// Alive until it is told to serve.
setInterval(() => {}, 60_000);
