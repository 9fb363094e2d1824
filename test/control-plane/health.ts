import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { channel } from './envoy-client.ts';

interface Health extends grpc.Client {
  check(
    request: { service: string },
    callback: (error: grpc.ServiceError | null, answer?: { status: string }) => void,
  ): void;
  watch(request: { service: string }): grpc.ClientReadableStream<{ status: string }>;
}

function healthClient(controlPlane: TestControlPlane): Health {
  const { grpc: loaded } = grpc.loadPackageDefinition(loadSync(protoPath, { enums: String })) as unknown as {
    grpc: { health: { v1: { Health: new (...options: ReturnType<typeof channel>) => Health } } };
  };
  return new loaded.health.v1.Health(...channel(controlPlane));
}

/** What `Check` answers, or the code that it fails with. */
export async function checkHealth(controlPlane: TestControlPlane, service = ''): Promise<string> {
  const client = healthClient(controlPlane);
  try {
    return await new Promise((resolve) => {
      client.check({ service }, (error, answer) =>
        resolve(error === null ? (answer?.status ?? '') : (grpc.status[error.code] ?? '')),
      );
    });
  } finally {
    client.close();
  }
}

/** `Watch`, and all that it said so far. */
export function watchHealth(controlPlane: TestControlPlane): {
  readonly statuses: readonly string[];
  close(): void;
} {
  const client = healthClient(controlPlane);
  const statuses: string[] = [];
  const stream = client.watch({ service: '' });
  stream.on('data', ({ status }: { status: string }) => statuses.push(status));
  stream.on('error', () => undefined);
  return {
    statuses,
    close: (): void => {
      stream.cancel();
      client.close();
    },
  };
}
