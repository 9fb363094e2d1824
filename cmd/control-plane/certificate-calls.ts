import type * as grpc from '@grpc/grpc-js';
import { CERTIFICATE_PATH, type CertificateService } from '../../src/certificates/index.ts';
import type { UnaryHandler } from '../../src/http2/index.ts';
import {
  credentialsFrom,
  credentialsOf,
  statusObject,
  type DiscoveryService,
} from '../../src/discovery/index.ts';

type BytesCall = grpc.ServerUnaryCall<Buffer, Buffer>;

/** The certificate call, for a grpc-js server. */
export function grpcCertificates(certificates: CertificateService): Omit<DiscoveryService, 'name'> {
  // The bytes as they are: nothing of them is read before the caller is proven.
  const same = (bytes: Buffer): Buffer => bytes;
  const method = {
    path: CERTIFICATE_PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  const handle = (call: BytesCall, callback: grpc.sendUnaryData<Buffer>): void => {
    certificates.answer(
      {
        credentials: credentialsOf(call.metadata, call.getPeer()),
        message: call.request,
        cancelled: () => call.cancelled,
      },
      (answer) => ('message' in answer ? callback(null, answer.message) : callback(statusObject(answer))),
    );
  };
  return { definition: { CreateCertificate: method }, implementation: { CreateCertificate: handle } };
}

/** The certificate call, for connections of calls alone. */
export function unaryCertificates(certificates: CertificateService): ReadonlyMap<string, UnaryHandler> {
  const handle: UnaryHandler = (request, answer) => {
    certificates.answer(
      {
        credentials: credentialsFrom(request.authorization, request.peer),
        message: request.message,
        cancelled: () => request.cancelled(),
      },
      answer,
    );
  };
  return new Map([[CERTIFICATE_PATH, handle]]);
}
