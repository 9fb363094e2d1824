import { status } from '@grpc/grpc-js';
import type * as grpc from '@grpc/grpc-js';
import { AuthorityError, type IssuedChain } from '../authority/index.ts';
import type { ProvenWorkload, Verdict } from '../attestation/index.ts';
import { RequestError } from './errors.ts';
import { requestReader, ResponseWriter, type ReadRequest } from './messages.ts';
import type { CertificateServiceOptions } from './types.ts';
import { ToldBundles } from './told-bundles.ts';
import { grantedMs } from './validity.ts';

/** `istio.v1.auth.IstioCertificateService`, for a grpc-js server. */
export interface CertificateService {
  readonly name: string;
  readonly definition: grpc.ServiceDefinition;
  readonly implementation: grpc.UntypedServiceImplementation;
  /**
   * When the last certificate ends that was given out with another bundle than the present one, ms since the epoch; 0:
   * none was, as far as this process knows. Until then its holder may not know the present roots, and nothing tells.
   */
  unawareUntilMs(): number;
}

type BytesCall = grpc.ServerUnaryCall<Buffer, Buffer>;
type Answer = Partial<grpc.StatusObject>;

const NAME = 'istio.v1.auth.IstioCertificateService';
const METHOD = 'CreateCertificate';
const UNDECIDED: Answer = {
  code: status.UNAVAILABLE,
  details: 'the caller could not be verified now; try again',
};
const UNSIGNED: Answer = {
  code: status.UNAVAILABLE,
  details: 'no certificate can be signed now; try again',
};
const GONE: Answer = { code: status.CANCELLED, details: 'the client went away' };

/** What the authority refuses because of what the request holds. Everything else is its own trouble. */
const CALLERS_FAULT: ReadonlySet<string> = new Set([
  'csr-malformed',
  'csr-signature',
  'csr-algorithm',
  'key-refused',
]);

/** A caller proves itself, and its request; then the authority signs for what attestation proved, and nothing else. */
export function certificateService(options: CertificateServiceOptions): CertificateService {
  const server = new CertificateServer(options);
  // The bytes as they are: nothing of them is read before the caller is proven.
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    name: NAME,
    definition: {
      [METHOD]: {
        path: `/${NAME}/${METHOD}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    unawareUntilMs: () => server.unawareUntilMs(),
    implementation: {
      [METHOD]: (call: BytesCall, callback: grpc.sendUnaryData<Buffer>): void => {
        void server.answer(call, callback);
      },
    },
  };
}

class CertificateServer {
  readonly #options: CertificateServiceOptions;
  readonly #read: ReadRequest;
  readonly #writer = new ResponseWriter();
  readonly #told = new ToldBundles();

  constructor(options: CertificateServiceOptions) {
    this.#options = options;
    this.#read = requestReader(options.root);
  }

  unawareUntilMs(): number {
    return this.#told.othersEndMs(this.#options.bundle());
  }

  /** Never rejects. */
  async answer(call: BytesCall, callback: grpc.sendUnaryData<Buffer>): Promise<void> {
    const { observer, rate, statusOf } = this.#options;
    let verdict: Verdict;
    const credentials = this.#options.credentialsOf(call.metadata, call.getPeer());
    try {
      verdict = await this.#options.attest(credentials);
    } catch (error) {
      observer.failed(error);
      callback(UNDECIDED);
      return;
    }
    if (!verdict.ok) {
      const { code, publicMessage: message, retryAfterMs } = verdict.refusal;
      callback(statusOf({ code, message, retryAfterMs }));
      return;
    }
    if (call.cancelled) {
      callback(GONE);
      return;
    }
    const { workload } = verdict;
    const retryAfterMs = rate.take(workload.pod.uid);
    if (retryAfterMs > 0) {
      const message = 'this pod asks for certificates too often; keep the one that it has';
      observer.refused(workload, { field: 'rate', detail: message });
      callback(statusOf({ code: 'RESOURCE_EXHAUSTED', message, retryAfterMs }));
      return;
    }
    let response: Buffer;
    let issued: IssuedChain;
    try {
      issued = this.#issue(workload, call.request);
      const bundle = this.#options.bundle();
      response = this.#writer.write(issued, bundle);
      this.#told.add(bundle, issued.notAfterMs);
    } catch (error) {
      callback(this.#refuse(workload, error));
      return;
    }
    observer.issued(workload, issued, credentials.peerAddress);
    callback(null, response);
  }

  /** @throws RequestError; AuthorityError that is not the caller's fault */
  #issue(workload: ProvenWorkload, bytes: Buffer): IssuedChain {
    const { sign, validity } = this.#options;
    const request = this.#read(bytes);
    const ttlMs = grantedMs(request.validity, validity);
    try {
      return sign(workload, request.csr, ttlMs);
    } catch (error) {
      if (!(error instanceof AuthorityError) || !CALLERS_FAULT.has(error.code)) throw error;
      throw new RequestError('csr', error.message, { cause: error });
    }
  }

  #refuse(workload: ProvenWorkload, error: unknown): Answer {
    const { observer } = this.#options;
    if (!(error instanceof RequestError)) {
      observer.failed(error);
      return UNSIGNED;
    }
    observer.refused(workload, error);
    return { code: status.INVALID_ARGUMENT, details: error.message };
  }
}
