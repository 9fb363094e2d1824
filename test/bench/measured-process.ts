import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Answer, Protocol, Question } from './ipc.ts';

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

const answerTimeoutMs = 120_000;

/** A Node process of the bench: what it prints goes to a file, questions to it go over IPC. */
export class MeasuredProcess<P extends Protocol> {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #output: string;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;

  /** @param preload loaded before `script` */
  constructor(options: {
    readonly name: string;
    readonly folder: string;
    readonly script: URL;
    readonly args?: readonly string[];
    readonly preload?: URL;
  }) {
    this.#name = options.name;
    this.#output = join(options.folder, `${options.name}.log`);
    const output = openSync(this.#output, 'a', 0o600);
    const flags = ['--disable-warning=ExperimentalWarning'];
    if (options.preload !== undefined) flags.push('--import', options.preload.href);
    this.#child = fork(options.script, [...(options.args ?? [])], {
      execArgv: flags,
      stdio: ['ignore', output, output, 'ipc'],
      serialization: 'advanced',
    });
    closeSync(output);
    running.add(this.#child);
    this.#child.once('exit', () => running.delete(this.#child));
    this.#child.on('message', (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    this.#child.once('close', () => {
      for (const [id, settle] of this.#waiting) settle({ id, error: this.#obituary() });
      this.#waiting.clear();
    });
  }

  /** @throws Error with what it answered, or with the end of its output where it is gone */
  async ask<M extends keyof P & string>(method: M, argument: P[M][0]): Promise<P[M][1]> {
    this.assertRunning();
    const id = this.#nextId++;
    const answer = await new Promise<Answer>((resolve) => {
      const late = setTimeout(() => {
        this.#waiting.delete(id);
        resolve({ id, error: `no answer within ${answerTimeoutMs} ms` });
      }, answerTimeoutMs);
      this.#waiting.set(id, (given) => {
        clearTimeout(late);
        resolve(given);
      });
      const question: Question = { id, method, argument };
      this.#child.send(question);
    });
    if ('error' in answer) throw new Error(`${this.#name}, asked for ${method}: ${answer.error}`);
    return answer.result;
  }

  assertRunning(): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw new Error(this.#obituary());
  }

  /** In the middle of whatever it does. */
  async kill(): Promise<void> {
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await closed;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.kill();
    const hard = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await closed;
    clearTimeout(hard);
  }

  #obituary(): string {
    const end = readFileSync(this.#output, 'utf8').slice(-2_000);
    return `${this.#name} ended with ${this.#child.exitCode ?? this.#child.signalCode}:\n${end}`;
  }
}
