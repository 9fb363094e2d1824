import type { MeshNotice } from './types.ts';

type Listener = (notice: MeshNotice) => void;

/**
 * Tells listeners, synchronously and in the order of the generations. A notice that comes from within a listener is
 * delivered after the present one has reached everybody.
 */
export class Notices {
  readonly #listeners = new Set<{ readonly call: Listener }>();
  readonly #onListenerError: (error: unknown) => void;
  readonly #undelivered: MeshNotice[] = [];
  #delivering = false;

  constructor(onListenerError: (error: unknown) => void = warnOfListener) {
    this.#onListenerError = onListenerError;
  }

  /** @returns the function that stops it; it may be called from within the listener. */
  subscribe(listener: Listener): () => void {
    const entry = { call: listener };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  deliver(news: MeshNotice): void {
    this.#undelivered.push(news);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let notice = this.#undelivered.shift(); notice !== undefined; notice = this.#undelivered.shift()) {
        for (const listener of this.#listeners) this.#call(listener.call, notice);
      }
    } finally {
      this.#delivering = false;
    }
  }

  #call(listener: Listener, notice: MeshNotice): void {
    try {
      listener(notice);
    } catch (error) {
      this.#onListenerError(error);
    }
  }
}

function warnOfListener(error: unknown): void {
  process.emitWarning(`A mesh listener threw: ${String(error)}`);
}
