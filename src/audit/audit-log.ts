import { closeSync, openSync, writeSync } from 'node:fs';
import type { AuditEvent } from './types.ts';

/** Takes whole lines. An error is the caller's to know: an audit log that loses events silently is none. */
export interface AuditSink {
  write(line: string): void;
  close(): void;
}

/** Appends to `path` (0600). A line that a full disk cut off is closed, so that it spoils no later one. */
export function fileSink(path: string): AuditSink {
  const descriptor = openSync(path, 'a', 0o600);
  let torn = false;
  return {
    write: (line): void => {
      const bytes = Buffer.from(torn ? `\n${line}` : line);
      for (let written = 0; written < bytes.length;) {
        const before = written;
        try {
          written += writeSync(descriptor, bytes, written);
        } catch (error) {
          torn ||= before > 0;
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
    write: (line): void => {
      process.stdout.write(line);
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
    this.#sequence += 1;
    const line = { time: new Date(this.#nowMs()).toISOString(), sequence: this.#sequence, ...event };
    try {
      this.#sink.write(`${JSON.stringify(line)}\n`);
      if (this.#failing) this.#onRecovered();
      this.#failing = false;
    } catch (error) {
      this.#failing = true;
      // A full disk must not stop identities from being renewed; the log and readiness say what is lost.
      this.#onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  close(): void {
    this.#sink.close();
  }
}
