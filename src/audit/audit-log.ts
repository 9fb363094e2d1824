import { closeSync, openSync, writeSync } from 'node:fs';
import type { AuditEvent } from './types.ts';

/** Takes whole lines. An error is the caller's to know: an audit log that loses events silently is none. */
export interface AuditSink {
  write(line: string): void;
  close(): void;
}

/** Appends to `path` (0600). Each line is one write, so that lines of several processes do not mix. */
export function fileSink(path: string): AuditSink {
  const descriptor = openSync(path, 'a', 0o600);
  return {
    write: (line): void => {
      writeSync(descriptor, line);
    },
    close: (): void => closeSync(descriptor),
  };
}

export function stdoutSink(): AuditSink {
  return {
    write: (line): void => {
      process.stdout.write(line);
    },
    close: (): void => {},
  };
}

/** The audit stream: structured events in the order in which they happened, numbered without gaps. */
export class AuditLog {
  readonly #sink: AuditSink;
  readonly #nowMs: () => number;
  readonly #onError: (error: Error) => void;
  #sequence = 0;

  constructor(options: { sink: AuditSink; nowMs: () => number; onError: (error: Error) => void }) {
    this.#sink = options.sink;
    this.#nowMs = options.nowMs;
    this.#onError = options.onError;
  }

  record(event: AuditEvent): void {
    this.#sequence += 1;
    const line = { time: new Date(this.#nowMs()).toISOString(), sequence: this.#sequence, ...event };
    try {
      this.#sink.write(`${JSON.stringify(line)}\n`);
    } catch (error) {
      // A full disk must not stop identities from being renewed; the log and readiness say what is lost.
      this.#onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  close(): void {
    this.#sink.close();
  }
}
