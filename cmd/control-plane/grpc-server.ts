import * as grpc from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type protobuf from 'protobufjs';
import type { CertificateService } from '../../src/certificates/index.ts';
import type { DiscoveryServices } from '../../src/discovery/index.ts';
import { MAX_MESSAGE_BYTES, serveUnary, type UnaryConnection } from '../../src/http2/index.ts';
import { grpcCertificates, unaryCertificates } from './certificate-calls.ts';
import { reflectionService } from './reflection.ts';
import type { ListenAddress } from './config.ts';
import { openFrontDoor } from './front-door.ts';
import type { ServingCertificate } from './serving-certificate.ts';

export interface GrpcServer {
  readonly port: number;
  /** From here on health says SERVING. */
  serve(): void;
  /** Ends the streams in good order, then what is left of the connections. */
  stop(): Promise<void>;
}

/** Streams are told to go elsewhere at once; what is still open after this long is cut. */
const graceMs = 2_000;
const maxConcurrentStreams = 256;

export async function openGrpcServer(options: {
  readonly listen: ListenAddress;
  readonly certificate: ServingCertificate;
  readonly discovery: DiscoveryServices;
  readonly certificates: CertificateService;
  readonly schema: protobuf.Root;
  readonly maxMessageBytes: number;
  /** Of the connections of calls: a handler threw. */
  readonly onError: (error: unknown) => void;
  /** A connection could not be accepted. */
  readonly onAcceptError: (error: Error) => void;
}): Promise<GrpcServer> {
  const { listen, discovery, certificates, maxMessageBytes } = options;
  const server = new grpc.Server({
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_concurrent_streams': maxConcurrentStreams,
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
  // The TLS is the front door's; of the connections it has those that are no calls' (0043).
  const streams = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const methods = unaryCertificates(certificates);
  const calls = new Set<UnaryConnection>();
  const door = await openFrontDoor({
    listen,
    certificate: options.certificate,
    onError: options.onAcceptError,
    onConnection: (socket) => {
      const connection = serveUnary(socket, {
        methods,
        maxMessageBytes: Math.min(maxMessageBytes, MAX_MESSAGE_BYTES),
        maxConcurrentStreams,
        handOver: (theirs, received) => {
          theirs.unshift(received);
          streams.injectConnection(theirs);
        },
        failed: options.onError,
      });
      calls.add(connection);
      void connection.closed.then(() => calls.delete(connection));
    },
  });
  return {
    port: door.port,
    serve: () => health.setStatus('', 'SERVING'),
    stop: async (): Promise<void> => {
      health.setStatus('', 'NOT_SERVING');
      door.close();
      for (const connection of calls) connection.close();
      await discovery.stop(graceMs);
      // Its own waiting ends too early: a server that does not listen itself counts its sessions as closed at once.
      server.tryShutdown(() => {});
      await door.emptied(graceMs);
    },
  };
}
