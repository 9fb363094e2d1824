import * as grpc from '@grpc/grpc-js';
import type { StreamEnd } from './types.ts';

/** A status as gRPC says it, whatever server it leaves by. */
export interface GrpcStatus {
  readonly code: grpc.status;
  readonly details: string;
  /** Trailing metadata, ASCII. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** An end as gRPC says it; when to come back is trailing metadata (gRPC A6, server pushback). */
export function statusOf({ code, message, retryAfterMs }: StreamEnd): GrpcStatus {
  const said = { code: grpc.status[code], details: message };
  if (retryAfterMs === undefined) return said;
  return { ...said, metadata: { 'grpc-retry-pushback-ms': String(retryAfterMs) } };
}

/** A status for a grpc-js server. */
export function statusObject({ code, details, metadata }: GrpcStatus): Partial<grpc.StatusObject> {
  if (metadata === undefined) return { code, details };
  const trailing = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) trailing.set(name, value);
  return { code, details, metadata: trailing };
}
