import * as grpc from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type protobuf from 'protobufjs';
import type { CertificateService } from '../../src/certificates/index.ts';
import type { DiscoveryServices } from '../../src/discovery/index.ts';
import { grpcCertificates } from './grpc-certificates.ts';
import { explainListen } from './listen.ts';
import { reflectionService } from './reflection.ts';
import type { ListenAddress } from './config.ts';

export interface GrpcServer {
  readonly port: number;
  /** From here on health says SERVING. */
  serve(): void;
  /** Ends the streams in good order, then what is left of the connections. */
  stop(): Promise<void>;
}

/** Streams are told to go elsewhere at once; what is still open after this long is cut. */
const graceMs = 2_000;

export async function openGrpcServer(options: {
  readonly listen: ListenAddress;
  readonly credentials: grpc.ServerCredentials;
  readonly discovery: DiscoveryServices;
  readonly certificates: CertificateService;
  readonly schema: protobuf.Root;
  readonly maxMessageBytes: number;
}): Promise<GrpcServer> {
  const { listen, discovery, certificates } = options;
  // channelz stays on, though nobody asks it: without it grpc-js forgets its sessions, and a stop cannot cut them.
  const server = new grpc.Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': 256,
    // A peer that is gone is noticed within 40 s; one that pings more often than every 10 s is cut off.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.keepalive_permit_without_calls': 1,
  });
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  health.addToServer(server);
  reflectionService(options.schema).addToServer(server);
  for (const { definition, implementation } of [...discovery.services, grpcCertificates(certificates)])
    server.addService(definition, implementation);
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  const port = await explainListen(
    '--listen',
    listen,
    () =>
      new Promise<number>((resolve, reject) => {
        server.bindAsync(`${host}:${listen.port}`, options.credentials, (error, bound) =>
          error === null ? resolve(bound) : reject(error),
        );
      }),
  );
  return {
    port,
    serve: () => health.setStatus('', 'SERVING'),
    stop: async (): Promise<void> => {
      health.setStatus('', 'NOT_SERVING');
      await discovery.stop(graceMs);
      await new Promise<void>((resolve) => {
        const cut = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, graceMs);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      });
    },
  };
}
