import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import { operatorDefinition } from './definition.ts';
import { OperatorError } from './errors.ts';
import type { OperatorMethod, OperatorMethods } from './messages.ts';
import { operatorSocket } from './socket.ts';

/** What the control plane answers. An `OperatorError` becomes its gRPC status; any other error is INTERNAL. */
export type OperatorHandlers = {
  readonly [M in OperatorMethod]: (
    request: OperatorMethods[M][0],
  ) => OperatorMethods[M][1] | Promise<OperatorMethods[M][1]>;
};

export interface OperatorServer {
  close(): Promise<void>;
}

/**
 * Serves the operator API on the socket of a data directory that this process has taken for itself.
 * @throws OperatorError FAILED_PRECONDITION where the socket's folder is another user's
 */
export async function openOperatorServer(options: {
  readonly root: protobuf.Root;
  readonly dataDir: string;
  readonly handlers: OperatorHandlers;
  readonly onError: (error: unknown) => void;
}): Promise<OperatorServer> {
  const { folder, path } = operatorSocket(options.dataDir);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  ensurePrivate(folder);
  // The data directory is this process's alone, so a socket that is there is left over from a kill.
  rmSync(path, { force: true });
  const server = new grpc.Server();
  server.addService(operatorDefinition(options.root), {
    IssueToken: unary(options.handlers.IssueToken, options.onError),
    ListProxies: unary(options.handlers.ListProxies, options.onError),
    RenewSvid: unary(options.handlers.RenewSvid, options.onError),
    ListFederation: unary(options.handlers.ListFederation, options.onError),
    RotateRoot: unary(options.handlers.RotateRoot, options.onError),
    AddQuarantine: unary(options.handlers.AddQuarantine, options.onError),
    ListQuarantine: unary(options.handlers.ListQuarantine, options.onError),
    RemoveQuarantine: unary(options.handlers.RemoveQuarantine, options.onError),
    CheckExpiry: unary(options.handlers.CheckExpiry, options.onError),
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  chmodSync(path, 0o600);
  return {
    close: async (): Promise<void> => {
      server.forceShutdown();
      rmSync(path, { force: true });
    },
  };
}

function unary<Q, A>(
  handler: (request: Q) => A | Promise<A>,
  onError: (error: unknown) => void,
): grpc.handleUnaryCall<Q, A> {
  return (call, callback) => {
    void (async (): Promise<void> => {
      try {
        callback(null, await handler(call.request));
      } catch (error) {
        if (error instanceof OperatorError) {
          callback({ code: grpc.status[error.code], details: error.message });
        } else {
          onError(error);
          callback({ code: grpc.status.INTERNAL, details: 'internal error; see the control plane’s log' });
        }
      }
    })();
  };
}

/** A folder that others own or can enter would let them ask for tokens. */
function ensurePrivate(folder: string): void {
  const stats = lstatSync(folder);
  if (!stats.isDirectory() || stats.uid !== process.getuid?.()) {
    throw new OperatorError(
      'FAILED_PRECONDITION',
      `${folder} must be a directory of the user who runs the control plane: remove it and start again`,
    );
  }
  chmodSync(folder, 0o700);
}
