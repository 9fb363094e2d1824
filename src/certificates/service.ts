import { status } from '@grpc/grpc-js';
import { AuthorityError, type IssuedChain } from '../authority/index.ts';
import type { ProvenWorkload, Verdict } from '../attestation/index.ts';
import { Cohorts } from './cohorts.ts';
import { RequestError } from './errors.ts';
import { requestReader, ResponseWriter, type ReadRequest } from './messages.ts';
import type {
  CertificateAnswer,
  CertificateCall,
  CertificateServiceOptions,
  CertificateStatus,
  Issuance,
  RequestRefusal,
  SigningRequest,
} from './types.ts';
import { ToldBundles } from './told-bundles.ts';
import { grantedMs } from './validity.ts';

/** Of `CreateCertificate`, its only method. */
export const CERTIFICATE_PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

/** What the authority refuses because of what the request holds. Everything else is its own trouble. */
const CALLERS_FAULT: ReadonlySet<string> = new Set([
  'csr-malformed',
  'csr-signature',
  'csr-algorithm',
  'key-refused',
]);

/** When whoever found the queue full is to come back. */
const CROWDED_MS = 1_000;

const GONE: CertificateStatus = { code: status.CANCELLED, details: 'the client went away' };

type Done = (answer: CertificateAnswer) => void;

/** A call whose sender is proven, and waits for the end of the turn. */
interface ProvenCall {
  readonly call: CertificateCall;
  readonly done: Done;
  readonly workload: ProvenWorkload;
  readonly provenAt: number;
}

/** How far a proven call has come. An Error: its sender gets no certificate. */
interface Step<T> {
  readonly proven: ProvenCall;
  readonly result: T | Error;
}

interface Written {
  readonly message: Buffer;
  readonly issuance: Issuance;
}

/**
 * `istio.v1.auth.IstioCertificateService`, on whatever server. A caller proves itself, then its request; then the
 * authority signs for what attestation proved, and nothing else. Proven calls of one turn of the event loop are signed
 * together.
 */
export class CertificateService {
  readonly #options: CertificateServiceOptions;
  readonly #read: ReadRequest;
  readonly #writer = new ResponseWriter();
  readonly #told = new ToldBundles();
  readonly #proven = new Cohorts<ProvenCall>((cohort) => this.#serve(cohort));

  constructor(options: CertificateServiceOptions) {
    this.#options = options;
    this.#read = requestReader(options.root);
  }

  /**
   * When the last certificate ends that was given out with another bundle than the present one, ms since the epoch; 0:
   * none was, as far as this process knows. Until then its holder may not know the present roots, and nothing tells.
   */
  unawareUntilMs(): number {
    return this.#told.othersEndMs(this.#options.bundle());
  }

  /** Never throws. @param done called once */
  answer(call: CertificateCall, done: Done): void {
    void this.#prove(call, done);
  }

  /** Never rejects. */
  async #prove(call: CertificateCall, done: Done): Promise<void> {
    const { attest, observer, rate, statusOf, ticks } = this.#options;
    let verdict: Verdict;
    try {
      verdict = await attest(call.credentials);
    } catch (error) {
      observer.failed(error);
      const message = 'the caller could not be verified now; try again';
      this.#tell(done, statusOf({ code: 'UNAVAILABLE', message }));
      return;
    }
    if (!verdict.ok) {
      const { code, publicMessage: message, retryAfterMs } = verdict.refusal;
      this.#tell(done, statusOf({ code, message, retryAfterMs }));
      return;
    }
    if (call.cancelled()) {
      this.#tell(done, GONE);
      return;
    }
    const { workload } = verdict;
    // First, so that whoever is sent away has its allowance when it comes back.
    if (this.#proven.full) {
      const message = 'too many certificate requests wait; come back later';
      observer.refused(workload, { field: 'queue', detail: message });
      this.#tell(done, statusOf({ code: 'RESOURCE_EXHAUSTED', message, retryAfterMs: CROWDED_MS }));
      return;
    }
    const retryAfterMs = rate.take(workload.pod.uid);
    if (retryAfterMs > 0) {
      const message = 'this pod asks for certificates too often; keep the one that it has';
      observer.refused(workload, { field: 'rate', detail: message });
      this.#tell(done, statusOf({ code: 'RESOURCE_EXHAUSTED', message, retryAfterMs }));
      return;
    }
    this.#proven.add({ call, done, workload, provenAt: ticks() });
  }

  /** Each stage for all before the next one begins: the processor's caches then hold what it needs. */
  #serve(cohort: readonly ProvenCall[]): void {
    const still = cohort.filter((proven) => this.#stillMay(proven));
    const requests = still.map((proven) => step(proven, () => this.#requestOf(proven)));
    const written = this.#sign(requests).map(({ proven, result }) =>
      result instanceof Error ? { proven, result } : step(proven, () => this.#write(proven, result)),
    );
    const issuances = valuesOf(written).map(({ issuance }) => issuance);
    // Whoever is answered stands in the audit log already.
    if (issuances.length > 0) this.#options.observer.issued(issuances);
    const answers = written.map(({ proven, result }) => ({
      done: proven.done,
      answer: result instanceof Error ? this.#refuse(proven.workload, result) : { message: result.message },
    }));
    for (const { done, answer } of answers) this.#tell(done, answer);
  }

  /** Pods are deleted and quarantined meanwhile, and callers go away. */
  #stillMay({ call, done, workload }: ProvenCall): boolean {
    if (call.cancelled()) {
      this.#tell(done, GONE);
      return false;
    }
    const refusal = this.#options.recheck(workload);
    if (refusal === undefined) return true;
    const { code, detail, publicMessage: message } = refusal;
    this.#options.observer.refused(workload, { field: 'proof', detail });
    this.#tell(done, this.#options.statusOf({ code, message }));
    return false;
  }

  /** @throws RequestError */
  #requestOf({ call, workload }: ProvenCall): SigningRequest {
    const { csr, validity } = this.#read(call.message);
    return { workload, csr, ttlMs: grantedMs(validity, this.#options.validity) };
  }

  #sign(steps: readonly Step<SigningRequest>[]): readonly Step<IssuedChain>[] {
    const requests = valuesOf(steps);
    let signed: readonly (IssuedChain | Error)[] | Error;
    try {
      signed = requests.length === 0 ? [] : this.#options.sign(requests);
    } catch (error) {
      signed = asError(error);
    }
    let at = 0;
    return steps.map(({ proven, result }) => {
      if (result instanceof Error) return { proven, result };
      const one = signed instanceof Error ? signed : signed[at];
      at += 1;
      return { proven, result: one ?? new TypeError('The signer left a request out.') };
    });
  }

  #write({ call, workload, provenAt }: ProvenCall, issued: IssuedChain): Written {
    const bundle = this.#options.bundle();
    const message = this.#writer.write(issued, bundle);
    this.#told.add(bundle, issued.notAfterMs);
    const { peerAddress } = call.credentials;
    return { message, issuance: { workload, issued, peerAddress, tookMs: this.#options.ticks() - provenAt } };
  }

  #refuse(workload: ProvenWorkload, error: Error): CertificateStatus {
    const { observer, statusOf } = this.#options;
    const refusal = refusalOf(error);
    if (refusal === undefined) {
      observer.failed(error);
      return statusOf({ code: 'UNAVAILABLE', message: 'no certificate can be signed now; try again' });
    }
    observer.refused(workload, refusal);
    return statusOf({ code: 'INVALID_ARGUMENT', message: refusal.detail });
  }

  /** What one transport throws is not to cost the others their answers. */
  #tell(done: Done, answer: CertificateAnswer): void {
    try {
      done(answer);
    } catch (error) {
      this.#options.observer.failed(error);
    }
  }
}

function step<T>(proven: ProvenCall, act: () => T): Step<T> {
  try {
    return { proven, result: act() };
  } catch (error) {
    return { proven, result: asError(error) };
  }
}

function valuesOf<T>(steps: readonly Step<T>[]): T[] {
  const values: T[] = [];
  for (const { result } of steps) if (!(result instanceof Error)) values.push(result);
  return values;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}

/** @returns undefined: it is not the caller's fault */
function refusalOf(error: Error): RequestRefusal | undefined {
  if (error instanceof RequestError) return error;
  const isTheirs = error instanceof AuthorityError && CALLERS_FAULT.has(error.code);
  return isTheirs ? { field: 'csr', detail: error.message } : undefined;
}
