import { Agent, request } from 'node:http';

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

/** Sends requests one after the other, without a pause, until it is stopped. Counts what came back. */
export class Load {
  readonly statuses: Map<number, number> = new Map();
  #running = true;
  readonly #done: Promise<void>;

  constructor(options: Parameters<typeof call>[0], onAnswer?: (answer: Answer, atMs: number) => void) {
    const agent = oneConnection();
    this.#done = (async (): Promise<void> => {
      while (this.#running) {
        const answer = await call({ ...options, agent });
        this.statuses.set(answer.status, (this.statuses.get(answer.status) ?? 0) + 1);
        onAnswer?.(answer, performance.now());
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
