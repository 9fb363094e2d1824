import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One HTTP request; a connection that fails counts as status 0. The path goes out as it is, dots and all. */
export async function call(options: {
  host: string;
  port: number;
  method?: string;
  path?: string;
  headers?: Readonly<Record<string, string>>;
  agent?: Agent;
}): Promise<Answer> {
  return await new Promise((resolve) => {
    const sent = request(
      { method: 'GET', path: '/', timeout: 10_000, ...options, headers: { ...options.headers } },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
        response.once('error', (error) => resolve({ status: 0, body: error.message }));
      },
    );
    sent.once('timeout', () => sent.destroy(new Error('no answer within 10 s')));
    sent.once('error', (error) => resolve({ status: 0, body: error.message }));
    sent.end();
  });
}

/** One connection, kept open: what is judged on it is judged on an open connection. */
export function oneConnection(): Agent {
  return new Agent({ keepAlive: true, maxSockets: 1 });
}

/** Sends requests one after the other over one connection, until it is stopped. Counts what came back. */
export class Load {
  readonly statuses: Map<number, number> = new Map();
  #running = true;
  readonly #done: Promise<void>;

  /** @param pauseMs between two requests: without one it takes all that it can get of the machine */
  constructor(
    options: Parameters<typeof call>[0],
    onAnswer?: (answer: Answer, atMs: number, sentMs: number) => void,
    pauseMs?: number,
  ) {
    const agent = oneConnection();
    this.#done = (async (): Promise<void> => {
      while (this.#running) {
        const sentMs = performance.now();
        const answer = await call({ ...options, agent });
        this.statuses.set(answer.status, (this.statuses.get(answer.status) ?? 0) + 1);
        onAnswer?.(answer, performance.now(), sentMs);
        if (pauseMs !== undefined) await sleep(pauseMs);
      }
      agent.destroy();
    })();
  }

  get total(): number {
    return [...this.statuses.values()].reduce((sum, count) => sum + count, 0);
  }

  get failed(): number {
    return this.total - (this.statuses.get(200) ?? 0);
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }
}
