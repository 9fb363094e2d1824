import { Child } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';

export interface PartOptions {
  readonly name: string;
  readonly command: string;
  /** Asked for at each start. */
  readonly args: () => readonly string[];
  /** Whether it can be used; may throw while it cannot. */
  readonly ready: () => Promise<boolean>;
}

/** A process of the cluster, which a test can stop, kill, freeze and start again on the same address and data. */
export class Part {
  readonly #options: PartOptions;
  #child: Child | undefined;
  #frozen = false;

  constructor(options: PartOptions) {
    this.#options = options;
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  get running(): boolean {
    return this.#child?.running === true;
  }

  /** What the process that was started last has logged. */
  get log(): string {
    return this.#child?.stderr ?? '';
  }

  /**
   * Started, and ready.
   * @throws Error with the end of its log, where it ends, or is not ready within 90 s
   */
  async start(): Promise<void> {
    if (this.running) throw new Error(`${this.#options.name} runs already: stop or kill it first`);
    // With it, the kernel ends the process even where a test's own process is killed: no exit handler runs then.
    const child = new Child(
      this.#options.name,
      'setpriv',
      ['--pdeathsig', 'KILL', '--', this.#options.command, ...this.#options.args()],
      { env: { NO_PROXY: '*' } },
    );
    this.#child = child;
    this.#frozen = false;
    const ready = async (): Promise<true | undefined> => {
      return (await this.#options.ready()) ? true : undefined;
    };
    try {
      await Promise.race([
        waitFor(`${this.#options.name} to be ready`, async () => (child.running ? await ready() : true), {
          timeoutMs: 90_000,
          everyMs: 50,
        }),
        child.exited,
      ]);
      child.assertRunning();
    } catch (error) {
      await this.kill();
      throw new Error(`${this.#options.name} did not start; its log ends:\n${child.stderr.slice(-3_000)}`, {
        cause: error,
      });
    }
  }

  /** SIGTERM: it closes what it serves, and ends. */
  async stop(): Promise<void> {
    this.thaw();
    await this.#child?.stop(20_000);
  }

  /** SIGKILL: it ends in the middle of whatever it does. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#child?.exited;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** SIGSTOP: cut off. Its connections stay open, new ones are accepted, and nothing is ever answered. */
  freeze(): void {
    this.#child?.freeze();
    this.#frozen = true;
  }

  /** SIGCONT: goes on where it was frozen. */
  thaw(): void {
    if (this.#frozen) this.#child?.thaw();
    this.#frozen = false;
  }
}
