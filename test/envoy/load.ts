import { setTimeout as sleep } from 'node:timers/promises';
import { Http2Connection } from '../harness/http2.ts';

/** Calls one after the other; what is not as it should be is counted. */
export class Repeated {
  total = 0;
  failed = 0;
  #running = true;
  readonly #done: Promise<void>;

  /** @param pauseMs between two calls: without one it takes all that it can get of the machine */
  constructor(once: () => Promise<boolean>, pauseMs?: number) {
    this.#done = (async (): Promise<void> => {
      while (this.#running) {
        const good = await once();
        this.total += 1;
        if (!good) this.failed += 1;
        if (pauseMs !== undefined) await sleep(pauseMs);
      }
    })();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }
}

/** One HTTP/2 connection of the app to its sidecar, as long as the sidecar lets it live. */
export function overHttp2(way: { host: string; port: number }, pauseMs?: number): Repeated {
  let connection = new Http2Connection(way);
  return new Repeated(async () => {
    if (connection.closed) connection = new Http2Connection(way);
    return (await connection.status('/items')) === 200;
  }, pauseMs);
}
