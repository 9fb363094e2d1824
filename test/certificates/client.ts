import * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { root } from '../harness/paths.ts';
import { channel } from '../control-plane/envoy-client.ts';

const schema = protobuf.loadSync(`${root}proto/istio/v1/auth/ca.proto`);
const requestType = schema.lookupType('istio.v1.auth.IstioCertificateRequest');
const responseType = schema.lookupType('istio.v1.auth.IstioCertificateResponse');
const method = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

export interface Request {
  readonly csr?: string;
  /** Seconds. */
  readonly validityDuration?: number;
  readonly metadata?: object;
}

/** What came of a request: the chain, or `CODE: message`. */
export interface Outcome {
  readonly chain: readonly string[];
  readonly refusal: string | undefined;
}

/** An agent that asks for certificates over one connection. */
export class CertificateClient {
  /** Others may use it too. */
  readonly client: grpc.Client;

  constructor(controlPlane: TestControlPlane) {
    this.client = new grpc.Client(...channel(controlPlane));
  }

  async create(token: string | undefined, request: Request): Promise<Outcome> {
    return await this.createFrom(token, requestType.encode(requestType.fromObject(request)).finish());
  }

  /** Any bytes as the message. */
  async createFrom(token: string | undefined, message: Uint8Array): Promise<Outcome> {
    const metadata = new grpc.Metadata();
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    const same = (bytes: Buffer): Buffer => bytes;
    return await new Promise((resolve) => {
      this.client.makeUnaryRequest(method, same, same, Buffer.from(message), metadata, (error, bytes) => {
        if (error !== null) resolve({ chain: [], refusal: `${grpc.status[error.code]}: ${error.details}` });
        else {
          const { certChain } = responseType.decode(bytes ?? Buffer.alloc(0)) as unknown as {
            certChain: string[];
          };
          resolve({ chain: certChain, refusal: undefined });
        }
      });
    });
  }

  close(): void {
    this.client.close();
  }
}
