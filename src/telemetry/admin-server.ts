import { createServer, type Server } from 'node:http';
import type { Registry } from 'prom-client';
import { listen, type Listening } from '../http/index.ts';

/** What is not ready yet, by name; empty: ready. */
export type Readiness = () => ReadonlyMap<string, string>;

/** What there is to say of a process that is ready all the same, by name. */
export type Remarks = () => ReadonlyMap<string, string>;

export type AdminServer = Listening;

/**
 * `/healthz`: the process runs. `/readyz`: it serves, with remarks, a line each; otherwise 503 with what is missing.
 * `/metrics`: Prometheus' text form. Opened before anything else, so that a start that hangs can be seen.
 * @throws the listen error as it is (`EADDRINUSE`, `EACCES`).
 */
export async function openAdminServer(options: {
  readonly host: string;
  readonly port: number;
  readonly readiness: Readiness;
  readonly remarks?: Remarks;
  readonly registry: Registry;
}): Promise<AdminServer> {
  const server: Server = createServer((request, response) => {
    const reply = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' }).end(body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      reply(405, 'only GET and HEAD\n');
      return;
    }
    const path = request.url?.split('?')[0];
    switch (path) {
      case '/healthz':
        reply(200, 'ok\n');
        return;
      case '/readyz': {
        const missing = options.readiness();
        if (missing.size > 0) reply(503, lines(missing));
        else reply(200, `ok\n${lines(options.remarks?.() ?? new Map())}`);
        return;
      }
      case '/metrics':
        options.registry.metrics().then(
          (text) => reply(200, text, options.registry.contentType),
          (error: unknown) => reply(500, `metrics could not be collected: ${String(error)}\n`),
        );
        return;
      default:
        reply(404, 'not here; try /healthz, /readyz, /metrics\n');
    }
  });
  server.requestTimeout = 10_000;
  server.maxConnections = 256;
  return await listen(server, options);
}

function lines(said: ReadonlyMap<string, string>): string {
  return [...said].map(([name, what]) => `${name}: ${what}\n`).join('');
}
