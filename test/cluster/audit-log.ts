import { closeSync, existsSync, openSync, readSync } from 'node:fs';

/** One request that the API server has answered, or begun to answer. */
export interface AuditedRequest {
  readonly user: string;
  readonly userAgent: string;
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`. */
  readonly verb: string;
  /** With its subresource: `pods/status`; empty for what is no resource, such as `/readyz`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
  /** Of HTTP. */
  readonly status: number;
  readonly atMs: number;
}

interface Entry {
  readonly auditID: string;
  readonly user?: { readonly username?: string };
  readonly impersonatedUser?: { readonly username?: string };
  readonly userAgent?: string;
  readonly verb: string;
  readonly objectRef?: Readonly<
    Record<'resource' | 'subresource' | 'namespace' | 'name', string | undefined>
  >;
  readonly requestURI: string;
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

/** What the API server was asked, by whom. A request is in it soon after its answer: wait for what is expected. */
export class AuditLog {
  readonly #file: string;
  readonly #requests: Map<string, AuditedRequest> = new Map();
  #read = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** In the order of the log; a watch is in it as soon as it has begun. */
  requests(meant: (request: AuditedRequest) => boolean = () => true): readonly AuditedRequest[] {
    for (const entry of this.#newEntries()) {
      if (!this.#requests.has(entry.auditID)) this.#requests.set(entry.auditID, requestOf(entry));
    }
    return [...this.#requests.values()].filter(meant);
  }

  /** How many requests there were of each kind: `counts(['user', 'verb', 'resource'])` has keys such as `me list pods`. */
  counts(
    by: readonly (keyof AuditedRequest)[],
    meant?: (request: AuditedRequest) => boolean,
  ): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const request of this.requests(meant)) {
      const key = by.map((field) => String(request[field])).join(' ');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  *#newEntries(): Generator<Entry> {
    if (!existsSync(this.#file)) return;
    const file = openSync(this.#file, 'r');
    try {
      const chunks: Buffer[] = [];
      for (let at = this.#read; ;) {
        const chunk = Buffer.alloc(1 << 20);
        const length = readSync(file, chunk, 0, chunk.length, at);
        if (length === 0) break;
        chunks.push(chunk.subarray(0, length));
        at += length;
      }
      const added = Buffer.concat(chunks);
      const whole = added.subarray(0, added.lastIndexOf('\n') + 1);
      this.#read += whole.length;
      for (const line of whole.toString('utf8').split('\n')) {
        if (line !== '') yield JSON.parse(line) as Entry;
      }
    } finally {
      closeSync(file);
    }
  }
}

function requestOf(entry: Entry): AuditedRequest {
  const { resource = '', subresource, namespace = '', name = '' } = entry.objectRef ?? {};
  return {
    user: entry.impersonatedUser?.username ?? entry.user?.username ?? '',
    userAgent: entry.userAgent ?? '',
    verb: entry.verb,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    namespace,
    name,
    path: entry.requestURI,
    status: entry.responseStatus?.code ?? 0,
    atMs: Date.parse(entry.requestReceivedTimestamp),
  };
}
