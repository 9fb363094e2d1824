import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, type ExtAuthzFilter, type RbacFilter } from '../../../src/policy/index.ts';
import type { JsonObject } from '../../../src/proxy/index.ts';
import { envoyPath } from '../../harness/paths.ts';
import { freePort } from '../../harness/ports.ts';
import { Child } from '../../harness/process.ts';
import { waitFor } from '../../harness/wait.ts';
import type { Asked, Verdict } from '../case.ts';
import { EvaluatedSet, type Compiler } from '../evaluated.ts';
import { AUTHORIZERS, DOOR_ADDRESSES, SVIDS, inThisRun, type Door } from '../world.ts';
import { Authorizers } from './authorizers.ts';
import { makeCertificates, type Certificates } from './certificates.ts';
import { envoyConfig, type ConfigOptions } from './config.ts';
import type { Filter } from './files.ts';
import { listenersResource, routesResource, type SetFilters, type TcpSet } from './sets.ts';
import { connect, destinationOf, doorOf, endpoint, lineName, remoteOf, type Line } from './connect.ts';
import { http1Line, http2Line, type HttpLine } from './http-client.ts';
import { sayHello } from './tcp-client.ts';
import { isJudged, verdictOf, type LogLine, type Observed } from './verdicts.ts';
import { UNVERIFIED, verifyingResource } from './verifying.ts';
import { Wire } from './wire.ts';

/** Who may knock at a door. */
const PROBES: Readonly<Record<Door, Partial<Asked>>> = {
  sidecar: { peer: { kind: 'svid', id: SVIDS[0] ?? '' } },
  sidecar6: { peer: { kind: 'svid', id: SVIDS[0] ?? '' }, ipv6: true },
  proxied: { peer: { kind: 'svid', id: SVIDS[0] ?? '' }, proxied: '127.0.0.1' },
  forwarded: { peer: { kind: 'svid', id: SVIDS[0] ?? '' }, forwardedFor: '127.0.0.1' },
  open: { peer: { kind: 'anonymous' } },
  plaintext: {},
};

/** How the compiler has each external authorizer asked about an HTTP request. */
function asksOf(compiler: Compiler, wire: Wire): ReadonlyMap<string, Filter> {
  const asks = AUTHORIZERS.map(({ name }): [string, Filter] => {
    const spec = { action: 'CUSTOM', provider: { name }, rules: [{}] };
    const metadata = { name: 'p', namespace: 'a' };
    const document = {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata,
      spec,
    } as const;
    const documents = {
      protocol: 'http',
      defaultAction: 'deny',
      portKnown: false,
      documents: [document],
    } as const;
    const { custom } = new EvaluatedSet(documents, 1).compiled(compiler);
    if (custom === undefined) throw new Error(`the compiler has nobody ask ${name}`);
    return [name, { name: `ask.${name}`, typed_config: wire.pass(custom.ask).typed_config }];
  });
  return new Map(asks);
}

/** Filters that let everything pass. */
const OPEN_FILTERS: SetFilters['filters'] = ['audit', 'deny', 'allow'].map((which) => ({
  name: `countersign.authz.http.${which}`,
  typed_config: {},
}));

/** One set with all that is asked of it. */
export interface Hearing {
  readonly set: EvaluatedSet;
  readonly asked: readonly Asked[];
}

/** Connections that are busy at one time. */
const PARALLEL = 24;

/**
 * A real Envoy that judges by compiled filters: hundreds of policy sets at once, HTTP ones a route each, TCP ones
 * a port each. New sets reach it through files that it watches.
 */
export class Court {
  readonly #certificates: Certificates;
  readonly #folder: string;
  readonly #options: ConfigOptions;
  readonly #compiler: Compiler;
  readonly #wire: Wire;
  readonly #authorizers: Authorizers;
  readonly #lines = new Map<string, HttpLine>();
  #child: Child | undefined;
  #nextId = 0;

  private constructor(
    { wire, authorizers }: { wire: Wire; authorizers: Authorizers },
    options: ConfigOptions,
    compiler: Compiler,
  ) {
    this.#certificates = options.certificates;
    this.#wire = wire;
    this.#authorizers = authorizers;
    this.#folder = options.folder;
    this.#options = options;
    this.#compiler = compiler;
  }

  /** @param compiler what makes the filters that Envoy judges by */
  static async open(compiler: Compiler = compile): Promise<Court> {
    const certificates = await makeCertificates();
    const folder = mkdtempSync(join(tmpdir(), 'countersign-equality-'));
    const host = DOOR_ADDRESSES.sidecar;
    const [port, adminPort, echoPort] = [await freePort(host), await freePort(host), await freePort(host)];
    const [wire, authorizers] = [new Wire(), await Authorizers.start()];
    const ports = { port, adminPort, echoPort, authorizerPorts: authorizers.ports };
    const options = { certificates, folder, ...ports, asks: asksOf(compiler, wire) };
    return new Court({ wire, authorizers }, options, compiler);
  }

  /** Port of every HTTP listener. */
  get port(): number {
    return this.#options.port;
  }

  /** A port for a TCP set. */
  async tcpPort(): Promise<number> {
    return await freePort(DOOR_ADDRESSES.sidecar);
  }

  async close(): Promise<void> {
    for (const line of this.#lines.values()) line.close();
    await this.#child?.stop(2_000);
    this.#authorizers.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Envoy's verdicts, in the order asked. Sets whose filters Envoy refuses get a fault for each question. */
  async judge(hearings: readonly Hearing[]): Promise<Verdict[][]> {
    const fault = await this.#load(hearings);
    if (fault === undefined) return await this.#hear(hearings);
    if (hearings.length === 1)
      return hearings.map(({ asked }) => asked.map(() => ({ verdict: 'DENY', fault })));
    // Some set among them: each half by itself.
    const half = hearings.length >> 1;
    return [...(await this.judge(hearings.slice(0, half))), ...(await this.judge(hearings.slice(half)))];
  }

  #ids = new Map<EvaluatedSet, string>();

  /** @returns what Envoy has against these filters; undefined: they are in force */
  async #load(hearings: readonly Hearing[]): Promise<string | undefined> {
    this.#ids = new Map();
    const http: SetFilters[] = [];
    const tcp: TcpSet[] = [];
    const verifying = new Map<string, JsonObject>();
    for (const { set, asked: questions } of hearings) {
      this.#nextId += 1;
      const id = `s${this.#nextId}`;
      this.#ids.set(set, id);
      const { custom, audit, deny, allow } = set.compiled(this.#compiler);
      const pass = (filter: RbacFilter | ExtAuthzFilter): Filter => this.#wire.pass(filter);
      const filters = [...(custom ? [custom.select] : []), audit, deny, allow].map(pass);
      const ask = custom && pass(custom.ask);
      const verify = set.verifying();
      if (verify !== undefined) verifying.set(id, this.#wire.pass(verify).typed_config);
      if (set.set.protocol === 'http')
        http.push({ id, filters, asks: ask && this.#nameOf(ask), verifies: verify !== undefined });
      else {
        if (ask !== undefined) filters.splice(1, 0, ask);
        const doors = [...new Set(questions.map((asked) => doorOf(asked, 'tcp')))];
        tcp.push({ id, filters, port: set.port, doors });
      }
    }
    // So that what is awaited is there even when no set speaks HTTP.
    this.#nextId += 1;
    const probe = `s${this.#nextId}`;
    const said = this.#child?.stderr.length ?? 0;
    this.#write('listeners.json', listenersResource(tcp, probe, this.#options));
    this.#write(
      'routes.json',
      routesResource(
        [...http, { id: probe, filters: OPEN_FILTERS, verifies: true }],
        probe,
        this.#options.asks,
      ),
    );
    this.#write('verifying.json', verifyingResource(verifying, probe));
    this.#start();
    const fault = await this.#inForce(probe, tcp, said);
    writeFileSync(this.#accessLog, '');
    return fault;
  }

  /** Whom it asks: filters like it are in the listeners, and a route leaves one of them on. */
  #nameOf(ask: Filter): string {
    const text = JSON.stringify(ask.typed_config);
    for (const [name, { typed_config: config }] of this.#options.asks)
      if (JSON.stringify(config) === text) return name;
    throw new Error(`the compiler asks in a way that the listeners have not: ${text}`);
  }

  #write(name: string, content: unknown): void {
    const path = join(this.#folder, name);
    writeFileSync(`${path}.new`, JSON.stringify(content));
    renameSync(`${path}.new`, path);
  }

  #start(): void {
    if (this.#child?.running === true) return;
    const config = join(this.#folder, 'envoy.json');
    writeFileSync(config, JSON.stringify(envoyConfig(this.#options)));
    this.#child = new Child('the judging Envoy', envoyPath(), [
      ...['-c', config, '--disable-hot-restart', '--concurrency', '1', '--log-level', 'warning'],
      ...['--file-flush-interval-msec', '10', '--drain-time-s', '1'],
    ]);
  }

  /** Waits until the newest sets answer on every door. */
  async #inForce(probe: string, tcp: readonly TcpSet[], said: number): Promise<string | undefined> {
    const ask = (door: Door): Asked => ({
      ...{ peer: { kind: 'plaintext' }, ipv6: false, source: '127.77.3.1', sni: undefined, http: 1 },
      ...{ method: 'GET', path: '/', host: 'probe', headers: [], forwardedFor: undefined },
      ...PROBES[door],
    });
    const line = (door: Door, port: number): Line => ({ asked: ask(door), door, port, alpn: undefined });
    const answered = async (door: Door): Promise<boolean> => {
      const status = async (number: string): Promise<number | undefined> =>
        await (await this.#httpLine(line(door, this.port))).ask(ask(door), { set: probe, number });
      // The listener's own filters deny: the route is there, and lifts them.
      return (await status('probe')) === 200 && (await status(UNVERIFIED)) === 401;
    };
    const waiting = new Set(Object.keys(PROBES) as Door[]);
    const silent = new Set(tcp);
    return await waitFor<{ fault?: string }>(
      'Envoy to take the policy sets',
      async () => {
        const fault = this.#complaint(said);
        if (fault !== undefined) return { fault };
        for (const door of waiting) if (await answered(door)) waiting.delete(door);
        for (const set of silent) {
          for (const door of set.doors) (await connect(line(door, set.port), this.#certificates)).destroy();
          silent.delete(set);
        }
        return waiting.size === 0 ? {} : undefined;
      },
      { everyMs: 5, timeoutMs: 60_000 },
    ).then(({ fault }) => fault);
  }

  /** What Envoy said against its configuration since then, or that it died of it. */
  #complaint(said: number): string | undefined {
    const child = this.#child;
    if (child === undefined) return undefined;
    if (!child.running) {
      for (const line of this.#lines.values()) line.close();
      this.#lines.clear();
      const why = /\[(?:critical|error)\][^]{0,1000}/u.exec(child.stderr.slice(said))?.[0];
      return `Envoy ended: ${why ?? child.stderr.slice(-1_000)}`;
    }
    return /(?:rejected|[Ee]rror adding|error updating)[^]*/u
      .exec(child.stderr.slice(said))?.[0]
      .slice(0, 2_000);
  }

  async #hear(hearings: readonly Hearing[]): Promise<Verdict[][]> {
    const heard: Heard[] = [];
    const queues = new Map<string, (() => Promise<void>)[]>();
    for (const [index, { set, asked: questions }] of hearings.entries()) {
      for (const [at, asked] of questions.entries()) {
        const line = lineOf(asked, set);
        const name = lineName(line);
        const queue = queues.get(name) ?? [];
        queues.set(name, queue);
        queue.push(async () => {
          heard.push({ index, at, ...(await this.#ask(line, set, `${index}.${at}`)) });
        });
      }
    }
    await inParallel([...queues.values()]);
    const judged = heard.filter(({ status }) => status !== undefined && isJudged(status));
    const log = await this.#log(Map.groupBy(judged, ({ key }) => key));
    const verdicts: Verdict[][] = hearings.map(() => []);
    for (const answer of heard) {
      const [hearing, row] = [hearings[answer.index], verdicts[answer.index]];
      if (hearing === undefined || row === undefined) continue;
      row[answer.at] = verdictOf(answer, log.get(answer), hearing.set);
    }
    return verdicts;
  }

  async #ask(line: Line, set: EvaluatedSet, number: string): Promise<Answer> {
    if (set.set.protocol === 'tcp') {
      return await this.#connectAndAsk(line);
    }
    const asked = { ...inThisRun(line.asked, set.port), tokens: line.asked.tokens ?? [] };
    const ticket = { set: this.#ids.get(set) ?? '', number };
    this.#authorizers.expect(number, undefined);
    // A connection that Envoy has just closed gives no answer: the next one does.
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const status = await (await this.#httpLine(line)).ask(asked, ticket);
      if (status !== undefined) return { status, key: number, asked: this.#authorizers.wasAsked(number) };
    }
    return { status: asked.http === 2 ? 'reset' : undefined, key: number, asked: false };
  }

  async #connectAndAsk(line: Line): Promise<Answer> {
    const { asked, door, port } = line;
    const socket = await connect(line, this.#certificates);
    const { localAddress = '', localPort = 0 } = socket;
    const client = endpoint(remoteOf(asked, door) ?? localAddress, localPort);
    this.#authorizers.expect(client, asked.authorizer);
    const status = await sayHello(socket);
    const key = `${endpoint(localAddress, localPort)} ${destinationOf(asked, door)} ${port}`;
    return { status, key, asked: this.#authorizers.wasAsked(client) };
  }

  async #httpLine(line: Line): Promise<HttpLine> {
    const name = lineName(line);
    const open = this.#lines.get(name);
    if (open?.usable() === true) return open;
    open?.close();
    const socket = await connect(line, this.#certificates);
    const made = line.alpn === 'h2' ? http2Line(socket) : http1Line(socket);
    this.#lines.set(name, made);
    return made;
  }

  /**
   * The access log's lines of these answers. A client's port may come twice in a batch, one connection after the
   * other: lines of one key belong to its answers in their order.
   */
  async #log(wanted: ReadonlyMap<string, readonly Heard[]>): Promise<ReadonlyMap<Heard, LogLine>> {
    const found = new Map<Heard, LogLine>();
    const seen = new Map<string, number>();
    const total = [...wanted.values()].reduce((sum, { length }) => sum + length, 0);
    let read = 0;
    await waitFor(`the access log of ${total} answers`, () => {
      const bytes = readFileSync(this.#accessLog);
      const end = bytes.lastIndexOf(0x0a) + 1;
      for (const text of bytes.subarray(read, end).toString('utf8').split('\n')) {
        if (text === '') continue;
        const line = JSON.parse(text) as LogLine;
        const key = keyOf(line);
        const ordinal = seen.get(key) ?? 0;
        seen.set(key, ordinal + 1);
        const answer = wanted.get(key)?.[ordinal];
        if (answer !== undefined) found.set(answer, line);
      }
      read = end;
      return found.size === total ? true : undefined;
    }).catch(() => undefined); // What is missing then, is missing in the verdict.
    return found;
  }

  get #accessLog(): string {
    return join(this.#folder, 'access.log');
  }
}

interface Answer extends Observed {
  /** Under what the access log tells of it. */
  readonly key: string;
}

/** One question's answer, not yet a verdict. */
interface Heard extends Answer {
  readonly index: number;
  readonly at: number;
}

function lineOf(asked: Asked, set: EvaluatedSet): Line {
  const { protocol } = set.set;
  const door = doorOf(asked, protocol);
  const tlsHttp = protocol === 'http' && door !== 'plaintext';
  return { asked, door, port: set.port, alpn: tlsHttp ? HTTP_VERSIONS[asked.http] : undefined };
}

const HTTP_VERSIONS = { 1: 'http/1.1', 2: 'h2' } as const;

/** The number of a request; the two ends of a connection. */
function keyOf({ number, source_address: source, destination_address: destination }: LogLine): string {
  if (typeof number === 'string') return number;
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/u.exec(destination) ?? [];
  return `${source} ${host} ${port}`;
}

/** Runs each queue in its order, several queues at a time. */
async function inParallel(queues: readonly (readonly (() => Promise<void>)[])[]): Promise<void> {
  const rest = [...queues].sort((a, b) => a.length - b.length);
  const work = async (): Promise<void> => {
    for (let queue = rest.pop(); queue !== undefined; queue = rest.pop()) {
      for (const step of queue) await step();
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
}
