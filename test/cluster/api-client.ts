import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly deletionTimestamp?: string;
}

/** Any object of the API, as its JSON has it. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubeObject;
}

/** The API server refused. */
export class ApiError extends Error {
  /** Of HTTP. */
  readonly status: number;
  /** Of the Status object, such as `NotFound`. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly contentType?: string;
  readonly timeoutMs?: number;
}

/**
 * The path of a collection, an object or a subresource.
 * @param resource `pods` for the core group, `discovery.k8s.io/v1/endpointslices` for any other
 */
export function at(resource: string, namespace?: string, name?: string, subresource?: string): string {
  const slash = resource.lastIndexOf('/');
  const group = slash < 0 ? '/api/v1' : `/apis/${resource.slice(0, slash)}`;
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`;
  const rest = [resource.slice(slash + 1), name, subresource].filter((part) => part !== undefined).join('/');
  return `${group}${scope}/${rest}`;
}

/** Speaks to the API server as one user, with nothing between: no cache, no retry. */
export class ApiClient {
  readonly #url: string;
  readonly #caFile: string;
  readonly #token: string;
  #agent: Agent | undefined;

  /** @param caFile read with the first request: the API server makes its certificate when it first starts */
  constructor(url: string, caFile: string, token: string) {
    this.#url = url;
    this.#caFile = caFile;
    this.#token = token;
  }

  /** @throws ApiError where the answer is no success; Error where there is none within `timeoutMs` (30 s) */
  async request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const signal = AbortSignal.timeout(options.timeoutMs ?? 30_000);
    const body = await text(await this.#send(method, path, { ...options, signal }));
    return (body.startsWith('{') ? JSON.parse(body) : body) as T;
  }

  async get<T extends object = KubeObject>(path: string): Promise<T> {
    return await this.request<T>('GET', path);
  }

  async list(path: string): Promise<readonly KubeObject[]> {
    return (await this.request<{ items: KubeObject[] }>('GET', path)).items;
  }

  async create<T extends object = KubeObject>(path: string, body: object): Promise<T> {
    return await this.request<T>('POST', path, { body });
  }

  async replace(path: string, body: object): Promise<KubeObject> {
    return await this.request('PUT', path, { body });
  }

  /** A JSON merge patch. */
  async merge(path: string, body: object): Promise<KubeObject> {
    return await this.request('PATCH', path, { body, contentType: 'application/merge-patch+json' });
  }

  /** @param graceSeconds 0: gone at once. Above: a pod on a node stays, terminating, as no kubelet takes it away */
  async delete(path: string, graceSeconds = 0): Promise<void> {
    await this.request('DELETE', path, { body: { gracePeriodSeconds: graceSeconds } });
  }

  /** Until the server ends it or the caller leaves the loop. */
  async *watch(path: string, query: Readonly<Record<string, string>> = {}): AsyncGenerator<WatchEvent> {
    const parameters = new URLSearchParams({ watch: 'true', ...query });
    const leaving = new AbortController();
    const response = await this.#send('GET', `${path}?${parameters.toString()}`, { signal: leaving.signal });
    const lines = createInterface({ input: response });
    try {
      for await (const line of lines) yield JSON.parse(line) as WatchEvent;
    } finally {
      lines.close();
      response.once('error', () => {});
      leaving.abort();
    }
  }

  close(): void {
    this.#agent?.destroy();
  }

  async #send(
    method: string,
    path: string,
    { body, contentType = 'application/json', signal }: RequestOptions & { signal: AbortSignal },
  ): Promise<IncomingMessage> {
    // The API server ends a connection that was idle for 90 s, which must not meet the next request on its way.
    const [keepAlive, timeout] = [true, 30_000];
    this.#agent ??= new Agent({ keepAlive, timeout, maxSockets: 32, ca: readFileSync(this.#caFile) });
    const agent = this.#agent;
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sentBody = body === undefined ? undefined : JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${this.#token}`,
        'user-agent': 'countersign-test',
        // Node itself sends a DELETE's body without its length.
        ...(sentBody === undefined
          ? {}
          : { 'content-type': contentType, 'content-length': Buffer.byteLength(sentBody) }),
      };
      const sent = request(`${this.#url}${path}`, { method, headers, signal, agent });
      sent.once('response', resolve);
      sent.once('error', reject);
      sent.end(sentBody);
    });
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const answer = await text(response);
    const { reason, message } = (answer.startsWith('{') ? JSON.parse(answer) : {}) as Record<string, string>;
    throw new ApiError(status, reason ?? '', `${method} ${path}: ${status} ${message ?? answer}`);
  }
}

/** The first so many events of a watch. */
export async function firstEvents(
  client: ApiClient,
  path: string,
  count: number,
  query: Readonly<Record<string, string>> = {},
): Promise<readonly WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const event of client.watch(path, query)) if (events.push(event) === count) break;
  return events;
}
