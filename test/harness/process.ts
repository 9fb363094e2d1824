import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A child process whose output is kept, and which never outlives its test. */
export class Child {
  readonly #process: ChildProcess;
  readonly #name: string;
  readonly exited: Promise<number | null>;
  stdout = '';
  stderr = '';

  /** @param input its stdin; absent: none */
  constructor(
    name: string,
    command: string,
    args: readonly string[],
    { env, input }: { env?: NodeJS.ProcessEnv; input?: string | undefined } = {},
  ) {
    this.#name = name;
    this.#process = spawn(command, args, {
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    // It may end before it has read everything: its exit code says how that went.
    this.#process.stdin?.on('error', () => {}).end(input);
    this.#process.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.exited = once(this.#process, 'close').then(() => this.#process.exitCode);
    running.add(this.#process);
    this.#process.once('exit', () => running.delete(this.#process));
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** @throws Error with the end of its output, if it is not running any more */
  assertRunning(): void {
    if (this.running) return;
    throw new Error(
      `${this.#name} ended with ${this.#process.exitCode ?? this.#process.signalCode}:\n${(this.stderr + this.stdout).slice(-2_000)}`,
    );
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    this.#process.kill(signal);
  }

  /** SIGSTOP. When this returns none of its threads runs: it may still answer for a moment after the signal. */
  freeze(): void {
    this.kill('SIGSTOP');
    const gone = Date.now() + 5_000;
    while (!isStopped(this.pid)) {
      if (Date.now() > gone) throw new Error(`${this.#name} did not freeze within 5 s`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }

  /** SIGCONT: it goes on where it was frozen. */
  thaw(): void {
    this.kill('SIGCONT');
  }

  /** SIGTERM, and SIGKILL for what is still there after `graceMs`. @returns the exit code */
  async stop(graceMs = 5_000): Promise<number | null> {
    if (!this.running) return this.#process.exitCode;
    this.kill();
    const hard = setTimeout(() => this.kill('SIGKILL'), graceMs);
    const code = await this.exited;
    clearTimeout(hard);
    return code;
  }
}

/** Whether every thread of a process is stopped by a signal: proc(5), state T. */
function isStopped(pid: number): boolean {
  const stats = readdirSync(`/proc/${pid}/task`).map((task) => {
    try {
      return readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8');
    } catch {
      return ') gone since it was listed: ask again';
    }
  });
  return stats.every((stat) => stat.slice(stat.lastIndexOf(')')).startsWith(') T'));
}

/** Runs to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: string | undefined } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = new Child(command, command, args, options);
  const code = await child.exited;
  return { code, stdout: child.stdout, stderr: child.stderr };
}
