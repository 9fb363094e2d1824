import { closeSync, openSync, writeSync } from 'node:fs';
import type { AuditEvent } from './types.ts';

/** Takes whole lines, one or several at once. An error is the caller's to know: an audit log that loses events silently is none. */
export interface AuditSink {
  write(lines: string): void;
  close(): void;
}

const NEWLINE = 0x0a;

/** Appends to `path` (0600). A line that a full disk cut off is closed, so that it spoils no later one. */
export function fileSink(path: string): AuditSink {
  const descriptor = openSync(path, 'a', 0o600);
  let torn = false;
  return {
    write: (lines): void => {
      const bytes = Buffer.from(torn ? `\n${lines}` : lines);
      for (let written = 0; written < bytes.length;) {
        const before = written;
        try {
          written += writeSync(descriptor, bytes, written);
        } catch (error) {
          if (before > 0) torn = bytes[before - 1] !== NEWLINE;
          throw error;
        }
      }
      torn = false;
    },
    close: (): void => closeSync(descriptor),
  };
}

/** @param onError stdout is written to asynchronously: what goes wrong there (a reader that went away) is told here */
export function stdoutSink(onError: (error: Error) => void): AuditSink {
  process.stdout.on('error', onError);
  return {
    write: (lines): void => {
      process.stdout.write(lines);
    },
    close: (): void => void process.stdout.off('error', onError),
  };
}

/** The audit stream: structured events in the order in which they happened, numbered without gaps. */
export class AuditLog {
  readonly #sink: AuditSink;
  readonly #nowMs: () => number;
  readonly #onError: (error: Error) => void;
  readonly #onRecovered: () => void;
  #failing = false;
  #sequence = 0;
  #lastTime = { ms: Number.NaN, text: '' };

  constructor(options: {
    sink: AuditSink;
    nowMs: () => number;
    onError: (error: Error) => void;
    /** Events are written again. What was lost in between shows as a gap in their numbers. */
    onRecovered: () => void;
  }) {
    this.#sink = options.sink;
    this.#nowMs = options.nowMs;
    this.#onError = options.onError;
    this.#onRecovered = options.onRecovered;
  }

  record(event: AuditEvent): void {
    this.recordAll([event]);
  }

  /** Events that happened together, in one write. All of them are written when this returns, or the error was told. */
  recordAll(events: readonly AuditEvent[]): void {
    if (events.length === 0) return;
    const head = `{"time":"${this.#time()}","sequence":`;
    let lines = '';
    for (const event of events) {
      this.#sequence += 1;
      lines += `${head}${this.#sequence},${JSON.stringify(event).slice(1)}\n`;
    }
    try {
      this.#sink.write(lines);
      if (this.#failing) this.#onRecovered();
      this.#failing = false;
    } catch (error) {
      this.#failing = true;
      // A full disk must not stop identities from being renewed; the log and readiness say what is lost.
      this.#onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** RFC 3339, written once for the events of one millisecond. */
  #time(): string {
    const nowMs = this.#nowMs();
    if (nowMs !== this.#lastTime.ms) this.#lastTime = { ms: nowMs, text: new Date(nowMs).toISOString() };
    return this.#lastTime.text;
  }

  close(): void {
    this.#sink.close();
  }
}
