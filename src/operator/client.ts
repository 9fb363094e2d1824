import { existsSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import { methodPath, operatorDefinition } from './definition.ts';
import { OperatorError, type OperatorStatus } from './errors.ts';
import type { OperatorMethod, OperatorMethods } from './messages.ts';
import { operatorSocket } from './socket.ts';

const callTimeoutMs = 10_000;

/**
 * Asks the control plane that runs on this data directory.
 * @throws OperatorError UNAVAILABLE where none runs; otherwise what it answered
 */
export async function callOperator<M extends OperatorMethod>(
  root: protobuf.Root,
  dataDir: string,
  method: M,
  request: OperatorMethods[M][0],
): Promise<OperatorMethods[M][1]> {
  const { path } = operatorSocket(dataDir);
  if (!existsSync(path)) throw notRunning(dataDir);
  const call = operatorDefinition(root)[method];
  if (call === undefined)
    throw new OperatorError('INTERNAL', `${method} is not in the schema: run make build`);
  const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
  try {
    return await new Promise<OperatorMethods[M][1]>((resolve, reject) => {
      client.makeUnaryRequest(
        methodPath(method),
        call.requestSerialize,
        call.responseDeserialize,
        request,
        { deadline: Date.now() + callTimeoutMs },
        (error, response) => {
          if (error !== null) reject(fromGrpc(error, dataDir));
          else resolve(response as OperatorMethods[M][1]);
        },
      );
    });
  } finally {
    client.close();
  }
}

function notRunning(dataDir: string): OperatorError {
  return new OperatorError(
    'UNAVAILABLE',
    `no control plane is running on the data directory ${dataDir}: start it with countersign control-plane --data-dir ${dataDir}`,
  );
}

function fromGrpc(error: grpc.ServiceError, dataDir: string): OperatorError {
  if (error.code === grpc.status.UNAVAILABLE) return notRunning(dataDir);
  const known: Readonly<Partial<Record<number, OperatorStatus>>> = {
    [grpc.status.NOT_FOUND]: 'NOT_FOUND',
    [grpc.status.FAILED_PRECONDITION]: 'FAILED_PRECONDITION',
    [grpc.status.INVALID_ARGUMENT]: 'INVALID_ARGUMENT',
    [grpc.status.PERMISSION_DENIED]: 'PERMISSION_DENIED',
  };
  return new OperatorError(known[error.code] ?? 'INTERNAL', error.details);
}
