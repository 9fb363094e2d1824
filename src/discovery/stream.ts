import { DiscoveryError } from './errors.ts';
import type { Codec } from './codec.ts';
import type { Flushable } from './flusher.ts';
import type { Machine, Push, Verdict } from './machine.ts';
import type { AnyRequest, Outgoing } from './messages.ts';
import type {
  AckEvent,
  DiscoveryLimits,
  DiscoveryObserver,
  Session,
  StreamEnd,
  StreamEvent,
  StreamStatus,
  TypeStatus,
  View,
} from './types.ts';

/** What a protocol variant brings to a stream. */
export interface Variant<Request> {
  readonly codec: Codec<Request>;
  machine(typeUrl: string, view: View): Machine<Request>;
}

/** The sending side of a stream. */
export interface Transport {
  /** All that was sent before has left. While it has not, nothing is handed over, only marked. */
  ready(): boolean;
  send(bytes: Buffer): void;
  /** Ends the stream with this status; nothing is sent afterwards. */
  end(end: StreamEnd): void;
}

export interface StreamOptions<Request> {
  readonly id: number;
  /** Like `StreamAggregatedResources`. */
  readonly method: string;
  /** The only type of a single-type service; `undefined`: aggregated. */
  readonly onlyType: string | undefined;
  readonly variant: Variant<Request>;
  readonly session: Session;
  readonly endsAtMs: number;
  readonly limits: DiscoveryLimits;
  readonly observer: DiscoveryObserver;
  readonly nowMs: () => number;
  /** Within one flush, types go out by rising order. */
  readonly order: (typeUrl: string) => number;
  readonly transport: Transport;
  /** Asks for one call of `flush` soon; asking again before it came changes nothing. */
  readonly wantFlush: (stream: Flushable) => void;
  /** Called once, when the stream is over, whoever ended it. */
  readonly closed: () => void;
}

/** Types of one stream: Envoy has about a dozen. */
const MAX_TYPES = 32;
const MAX_NAME_LENGTH = 4096;
const MAX_NODE_ID_LENGTH = 256;

interface Kept<Request> {
  readonly typeUrl: string;
  readonly machine: Machine<Request>;
}

/** One authenticated stream: its types, its view, its client. Knows no transport but the one it is given. */
export class XdsStream<R extends AnyRequest> implements Flushable {
  readonly #options: StreamOptions<R>;
  readonly #types: Map<string, Kept<R>> = new Map();
  readonly #unwatch: () => void;
  readonly #openedAtMs: number;
  #nonce = 0;
  #nodeId = '';
  #closed = false;

  constructor(options: StreamOptions<R>) {
    this.#options = options;
    this.#openedAtMs = options.nowMs();
    this.#unwatch = options.session.view.watch((change) => {
      this.#types.get(change.typeUrl)?.machine.changed(change.names);
      options.wantFlush(this);
    });
    options.observer.streamOpened?.(this.#event());
  }

  get endsAtMs(): number {
    return this.#options.endsAtMs;
  }

  get view(): View {
    return this.#options.session.view;
  }

  /** Takes one request as it came from the wire. */
  receive(bytes: Uint8Array): void {
    if (this.#closed) return;
    const request = this.#decode(bytes);
    if (request === undefined) return;
    if (this.#nodeId === '') this.#nodeId = request.node_id.slice(0, MAX_NODE_ID_LENGTH);
    this.#guarded(() => {
      const kept = this.#typeOf(request.type_url);
      if (kept === undefined) return;
      const { added, verdict } = kept.machine.receive(request);
      if (!this.#admitNames(added)) return;
      this.#report(kept.typeUrl, verdict);
      this.#options.wantFlush(this);
    });
  }

  /** Sends what is due, if the transport has room. */
  flush(): void {
    if (this.#closed || !this.#options.transport.ready()) return;
    this.#guarded(() => {
      const { order } = this.#options;
      const types = [...this.#types.values()].sort((a, b) => order(a.typeUrl) - order(b.typeUrl));
      for (const { machine } of types) {
        const response = machine.next(this.#nextNonce, this.#options.nowMs());
        if (response !== undefined) this.#send(response);
      }
    });
  }

  /** Lets go of the view. @param reason for the observer. */
  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    const { observer, closed } = this.#options;
    try {
      this.#unwatch();
    } catch (error) {
      observer.failed?.({ ...this.#event(), error });
    }
    closed();
    observer.streamClosed?.({ ...this.#event(), reason });
  }

  /** Ends the stream from this side. */
  end(end: StreamEnd): void {
    if (this.#closed) return;
    this.close(`${end.code}: ${end.message}`);
    this.#options.transport.end(end);
  }

  status(): StreamStatus {
    const types: TypeStatus[] = [...this.#types.values()].map(({ machine }) => machine.status());
    return { ...this.#event(), openedAtMs: this.#openedAtMs, endsAtMs: this.#options.endsAtMs, types };
  }

  readonly #nextNonce = (): string => {
    this.#nonce += 1;
    return String(this.#nonce);
  };

  #decode(bytes: Uint8Array): R | undefined {
    try {
      return this.#options.variant.codec.decode(bytes);
    } catch (error) {
      if (!(error instanceof DiscoveryError)) throw error;
      const code = error.code === 'XDS_MESSAGE_TOO_LARGE' ? 'RESOURCE_EXHAUSTED' : 'INVALID_ARGUMENT';
      this.end({ code, message: error.message });
      return undefined;
    }
  }

  /** Aggregated streams name the type in each request; for a single-type service it is implied. */
  #typeOf(requested: string): Kept<R> | undefined {
    const { onlyType, session, variant } = this.#options;
    const typeUrl = requested === '' ? (onlyType ?? '') : requested;
    if (typeUrl === '') {
      this.end({
        code: 'INVALID_ARGUMENT',
        message: 'an aggregated stream needs a type_url in each request',
      });
      return undefined;
    }
    if (onlyType !== undefined && typeUrl !== onlyType) {
      this.end({ code: 'INVALID_ARGUMENT', message: `this service only serves ${onlyType}` });
      return undefined;
    }
    const known = this.#types.get(typeUrl);
    if (known !== undefined) return known;
    if (this.#types.size >= MAX_TYPES || typeUrl.length > MAX_NAME_LENGTH) {
      const message = `at most ${MAX_TYPES} types of at most ${MAX_NAME_LENGTH} characters on one stream`;
      this.end({ code: 'RESOURCE_EXHAUSTED', message });
      return undefined;
    }
    const kept = { typeUrl, machine: variant.machine(typeUrl, session.view) };
    this.#types.set(typeUrl, kept);
    return kept;
  }

  #admitNames(added: readonly string[]): boolean {
    if (added.some((name) => name.length > MAX_NAME_LENGTH)) {
      const message = `a resource name has at most ${MAX_NAME_LENGTH} characters`;
      this.end({ code: 'INVALID_ARGUMENT', message });
      return false;
    }
    const { maxNamesPerStream } = this.#options.limits;
    let names = 0;
    for (const { machine } of this.#types.values()) names += machine.names.size;
    if (names <= maxNamesPerStream) return true;
    const message = `this stream subscribes to ${names} names; at most ${maxNamesPerStream} are allowed`;
    this.end({ code: 'RESOURCE_EXHAUSTED', message });
    return false;
  }

  #report(typeUrl: string, verdict: Verdict): void {
    const { observer } = this.#options;
    if (verdict.kind === 'ack') observer.acked?.(this.#ackEvent(typeUrl, verdict.push));
    if (verdict.kind === 'nack') {
      observer.nacked?.({ ...this.#ackEvent(typeUrl, verdict.push), message: verdict.message });
    }
  }

  #send(response: Outgoing): void {
    const { observer, transport, variant } = this.#options;
    const bytes = variant.codec.encode(response);
    transport.send(bytes);
    const { typeUrl, nonce, removed } = response;
    if (observer.pushed !== undefined) {
      const resources = new Map(response.resources.map((resource) => [resource.name, resource.version]));
      observer.pushed({ ...this.#event(), typeUrl, nonce, resources, removed, bytes: bytes.length });
    }
    const names = response.errors.filter(({ refused }) => refused);
    if (names.length > 0) observer.refused?.({ ...this.#event(), typeUrl, names });
  }

  /** A view that throws costs its own stream, no other. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#options.observer.failed?.({ ...this.#event(), error });
      this.end({ code: 'UNAVAILABLE', message: 'internal error; reconnect' });
    }
  }

  #event(): StreamEvent {
    const { id, method, session } = this.#options;
    return { streamId: id, client: session.client, method, nodeId: this.#nodeId };
  }

  #ackEvent(typeUrl: string, push: Push): AckEvent {
    const latencyMs = Math.max(0, this.#options.nowMs() - push.sentAtMs);
    return { ...this.#event(), typeUrl, nonce: push.nonce, resources: push.resources, latencyMs };
  }
}
