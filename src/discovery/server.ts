import { status } from '@grpc/grpc-js';
import type * as grpc from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import { discoveryCodec } from './codec.ts';
import { credentialsOf } from './credentials.ts';
import { DeltaMachine } from './delta.ts';
import { Flusher } from './flusher.ts';
import { Gate } from './gate.ts';
import { DEFAULT_EXPIRY_MARGIN_MS, endsAt, timerAfter } from './lifetime.ts';
import type { After } from './lifetime.ts';
import type { AnyRequest, DeltaDiscoveryRequest, DiscoveryRequest } from './messages.ts';
import { XDS_SERVICES, serviceDefinition } from './services.ts';
import type { XdsMethod, XdsService } from './services.ts';
import { SotwMachine } from './sotw.ts';
import { XdsStream } from './stream.ts';
import type { Variant } from './stream.ts';
import { GrpcTransport } from './transport.ts';
import type { BytesCall } from './transport.ts';
import type {
  Admission,
  Authenticator,
  DiscoveryLimits,
  DiscoveryObserver,
  Session,
  StreamEnd,
  StreamStatus,
} from './types.ts';

export interface DiscoveryOptions {
  /** Envoy's schema with `resource_errors`: `protobuf.Root.fromJSON` of `proto/gen/envoy.json`. */
  readonly root: protobuf.Root;
  readonly authenticator: Authenticator;
  readonly observer?: DiscoveryObserver;
  readonly limits: DiscoveryLimits;
  readonly nowMs: () => number;
  /** In [0, 1), for the jitter of stream ends. */
  readonly random: () => number;
  /** At least this long before the proof expires a stream has ended (less for short proofs). Default 60,000. */
  readonly expiryMarginMs?: number;
  /** Within one flush of a stream, types go out by rising order. Default: as the client subscribed. */
  readonly order?: (typeUrl: string) => number;
  /** One timer; default `setTimeout`. */
  readonly after?: After;
  /** Runs once the current task is over; default `setImmediate`. */
  readonly soon?: (run: () => void) => void;
}

export interface DiscoveryService {
  /** The gRPC service's full name. */
  readonly name: string;
  readonly definition: grpc.ServiceDefinition;
  readonly implementation: grpc.UntypedServiceImplementation;
}

/** The xDS services, and the streams that are open on them. */
export interface DiscoveryServices {
  readonly services: readonly DiscoveryService[];
  streams(): readonly StreamStatus[];
  /** The clock was set, or time passed that no timer saw: ends the streams whose time is over. */
  clockMoved(): void;
  /** Ends every stream with UNAVAILABLE and takes no new one. @returns when all are gone, or after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

const STOPPING: StreamEnd = { code: 'UNAVAILABLE', message: 'the server is stopping; reconnect' };
const EXPIRING: StreamEnd = {
  code: 'UNAVAILABLE',
  message: 'token expires soon; reconnect with a fresh one',
};
const EXPIRED: StreamEnd = { code: 'UNAUTHENTICATED', message: 'the token has expired' };
const GONE: StreamEnd = { code: 'UNAVAILABLE', message: 'the client went away' };
const UNDECIDED: StreamEnd = {
  code: 'UNAVAILABLE',
  message: 'the caller could not be verified now; try again',
};
const WITHDRAWN: StreamEnd = { code: 'UNAUTHENTICATED', message: 'access was withdrawn' };

/** @throws {DiscoveryError} `XDS_SCHEMA` */
export function discoveryServices(options: DiscoveryOptions): DiscoveryServices {
  return new DiscoveryServer(options);
}

class DiscoveryServer implements DiscoveryServices {
  readonly services: readonly DiscoveryService[];
  readonly #options: DiscoveryOptions;
  readonly #after: After;
  readonly #gate: Gate;
  readonly #flusher: Flusher;
  readonly #sotw: Variant<DiscoveryRequest>;
  readonly #delta: Variant<DeltaDiscoveryRequest>;
  readonly #streams: Map<number, Pick<XdsStream<AnyRequest>, 'end' | 'status' | 'endsAtMs'>> = new Map();
  /** Calls whose transport is not gone yet. */
  readonly #calls: Set<BytesCall> = new Set();
  #nextId = 1;
  #stopping = false;
  readonly #idle: Set<() => void> = new Set();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    this.#after = options.after ?? timerAfter;
    this.#gate = new Gate(options.limits);
    this.#flusher = new Flusher(options.soon ?? ((run): void => void setImmediate(run)));
    const codecs = discoveryCodec(options.root, options.limits.maxMessageBytes);
    this.#sotw = { codec: codecs.sotw, machine: (typeUrl, view) => new SotwMachine(typeUrl, view) };
    this.#delta = { codec: codecs.delta, machine: (typeUrl, view) => new DeltaMachine(typeUrl, view) };
    this.services = XDS_SERVICES.map((service) => ({
      name: service.name,
      definition: serviceDefinition(service),
      implementation: Object.fromEntries(
        service.methods.map((method) => [method.name, this.#handler(service, method)]),
      ),
    }));
  }

  streams(): readonly StreamStatus[] {
    return [...this.#streams.values()].map((stream) => stream.status());
  }

  clockMoved(): void {
    const nowMs = this.#options.nowMs();
    for (const stream of this.#streams.values()) if (nowMs >= stream.endsAtMs) stream.end(EXPIRING);
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    for (const stream of this.#streams.values()) stream.end(STOPPING);
    if (this.#calls.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#after(graceMs, resolve);
      this.#idle.add(() => {
        cancel();
        resolve();
      });
    });
  }

  #handler(service: XdsService, method: XdsMethod): grpc.UntypedHandleCall {
    const { onlyType } = service;
    if (method.variant === 'sotw') {
      return (call: BytesCall): void => void this.#open(call, method.name, onlyType, this.#sotw);
    }
    if (method.variant === 'delta') {
      return (call: BytesCall): void => void this.#open(call, method.name, onlyType, this.#delta);
    }
    return (_call: unknown, callback: grpc.sendUnaryData<Buffer>): void => {
      const details = 'there is no one-time fetch, as what is served is renewed: use the stream';
      callback({ code: status.UNIMPLEMENTED, details });
    };
  }

  /** Never rejects. */
  async #open<R extends AnyRequest>(
    call: BytesCall,
    method: string,
    onlyType: string | undefined,
    variant: Variant<R>,
  ): Promise<void> {
    let stream: XdsStream<R> | undefined;
    const transport = new GrpcTransport(call, this.#after, () => {
      if (stream !== undefined) this.#flusher.want(stream);
    });
    this.#calls.add(call);
    call.once('close', () => {
      this.#calls.delete(call);
      if (this.#calls.size === 0) for (const resolve of this.#idle) resolve();
    });
    const admission = await this.#admit(call);
    if (!admission.ok) {
      transport.end(admission.end);
      return;
    }
    const { session } = admission;
    try {
      const refusal = call.cancelled ? GONE : this.#refusal(session, call);
      if (refusal === undefined) {
        stream = this.#start(call, method, onlyType, variant, session, transport);
        return;
      }
      transport.end(refusal);
    } catch (error) {
      this.#failed(call, error);
      transport.end(UNDECIDED);
    }
    session.closed?.();
  }

  /** Never rejects. */
  async #admit(call: BytesCall): Promise<Admission> {
    if (this.#stopping) return { ok: false, end: STOPPING };
    const gone = new AbortController();
    const abort = (): void => gone.abort();
    call.once('cancelled', abort);
    try {
      const credentials = credentialsOf(call.metadata, call.getPeer());
      // The call lives for hours, and with it whatever hangs on it.
      call.metadata.remove('authorization');
      return await this.#options.authenticator.admit(credentials, gone.signal);
    } catch (error) {
      if (!gone.signal.aborted) this.#failed(call, error);
      return { ok: false, end: UNDECIDED };
    } finally {
      call.off('cancelled', abort);
    }
  }

  /** Why this session gets no stream; otherwise its client is counted for as long as the call is there. */
  #refusal(session: Session, call: BytesCall): StreamEnd | undefined {
    if (this.#stopping) return STOPPING;
    if (session.expiresAtMs <= this.#options.nowMs()) return EXPIRED;
    if (session.revoked.aborted) return endOf(session.revoked);
    if (!this.#gate.enter(session.client)) {
      const limit = this.#options.limits.maxStreamsPerClient;
      return {
        code: 'RESOURCE_EXHAUSTED',
        message: `${session.client} has ${limit} streams already; close one`,
      };
    }
    call.once('close', () => this.#gate.leave(session.client));
    return undefined;
  }

  /** Something threw before there was a stream. */
  #failed(call: BytesCall, error: unknown): void {
    const method = call.getPath().slice(call.getPath().lastIndexOf('/') + 1);
    this.#options.observer?.failed?.({ streamId: 0, client: '', method, nodeId: '', error });
  }

  #start<R extends AnyRequest>(
    call: BytesCall,
    method: string,
    onlyType: string | undefined,
    variant: Variant<R>,
    session: Session,
    transport: GrpcTransport,
  ): XdsStream<R> {
    const { limits, nowMs, observer = {}, order = (): number => 0, random } = this.#options;
    const { expiryMarginMs = DEFAULT_EXPIRY_MARGIN_MS } = this.#options;
    const openedAtMs = nowMs();
    const id = this.#nextId++;
    const endsAtMs = endsAt(openedAtMs, session.expiresAtMs, expiryMarginMs, random());
    const stream: XdsStream<R> = new XdsStream({
      id,
      method,
      onlyType,
      variant,
      session,
      endsAtMs,
      limits,
      observer,
      nowMs,
      order,
      transport,
      wantFlush: (wanting) => this.#flusher.want(wanting),
      closed: () => {
        cancelExpiry();
        session.revoked.removeEventListener('abort', revoke);
        this.#streams.delete(id);
        session.closed?.();
      },
    });
    const revoke = (): void => stream.end(endOf(session.revoked));
    const cancelExpiry = this.#after(endsAtMs - openedAtMs, () => stream.end(EXPIRING));
    session.revoked.addEventListener('abort', revoke, { once: true });
    this.#streams.set(id, stream);
    call.once('close', () => stream.close('the client went away'));
    call.once('end', () => {
      stream.flush();
      stream.close('the client closed the stream');
      transport.complete();
    });
    call.on('data', (bytes: Buffer) => stream.receive(bytes));
    return stream;
  }
}

function endOf(revoked: AbortSignal): StreamEnd {
  const reason: unknown = revoked.reason;
  return isStreamEnd(reason) ? reason : WITHDRAWN;
}

function isStreamEnd(value: unknown): value is StreamEnd {
  if (typeof value !== 'object' || value === null || !('code' in value) || !('message' in value))
    return false;
  return typeof value.message === 'string' && typeof value.code === 'string' && value.code in status;
}
