import type { ServiceDefinition } from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import type { OperatorMethod } from './messages.ts';

const service = 'countersign.operator.v1.OperatorService';
const toObject: protobuf.IConversionOptions = { defaults: true, longs: Number, arrays: true };

/** The gRPC definition, from the generated descriptor. */
export function operatorDefinition(root: protobuf.Root): ServiceDefinition {
  return Object.fromEntries(
    root.lookupService(service).methodsArray.map((method) => {
      method.resolve();
      const request = codec(method.resolvedRequestType, method.name);
      const response = codec(method.resolvedResponseType, method.name);
      return [
        method.name,
        {
          path: `/${service}/${method.name}`,
          originalName: method.name,
          requestStream: false,
          responseStream: false,
          requestSerialize: request.serialize,
          requestDeserialize: request.deserialize,
          responseSerialize: response.serialize,
          responseDeserialize: response.deserialize,
        },
      ];
    }),
  );
}

export function methodPath(method: OperatorMethod): string {
  return `/${service}/${method}`;
}

interface Codec {
  readonly serialize: (message: Readonly<Record<string, unknown>>) => Buffer;
  readonly deserialize: (bytes: Buffer) => unknown;
}

function codec(type: protobuf.Type | null, method: string): Codec {
  if (type === null) throw new Error(`${service}/${method} has no message type: run make build`);
  return {
    serialize: (message) => Buffer.from(type.encode(type.fromObject(message)).finish()),
    deserialize: (bytes) => type.toObject(type.decode(bytes), toObject),
  };
}
