import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { countersign } from './paths.ts';
import { freePort } from './ports.ts';
import { Child, run } from './process.ts';
import { waitFor } from './wait.ts';

/** Where pods and policies come from. */
export type Home = { readonly directory: string } | { readonly kubeconfig: string };

/** A real control plane process. */
export class TestControlPlane {
  readonly dataDir: string;
  readonly address: string;
  readonly admin: string;
  readonly auditLog: string;
  readonly #home: Home;
  #flags: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  #child: Child;

  private constructor(
    home: Home,
    options: {
      dataDir: string;
      address: string;
      admin: string;
      flags: readonly string[];
      env: NodeJS.ProcessEnv;
    },
  ) {
    this.#home = home;
    this.dataDir = options.dataDir;
    this.address = options.address;
    this.admin = options.admin;
    this.auditLog = join(options.dataDir, 'audit.log');
    this.#flags = options.flags;
    this.#env = options.env;
    this.#child = this.#spawn();
  }

  static async start(
    options: Home & { dataDir: string; flags?: readonly string[]; env?: NodeJS.ProcessEnv },
  ): Promise<TestControlPlane> {
    const address = `127.0.0.1:${await freePort()}`;
    const admin = `127.0.0.1:${await freePort()}`;
    const controlPlane = new TestControlPlane(options, {
      ...options,
      address,
      admin,
      flags: options.flags ?? [],
      env: options.env ?? {},
    });
    try {
      await controlPlane.ready();
    } catch (error) {
      await controlPlane.killHard();
      throw error;
    }
    return controlPlane;
  }

  /** The log so far: JSON lines. */
  get log(): string {
    return this.#child.stderr;
  }

  get stdout(): string {
    return this.#child.stdout;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Of the process that runs now: its exit code, null where a signal ended it. */
  get exited(): Promise<number | null> {
    return this.#child.exited;
  }

  get bundle(): string {
    return join(this.dataDir, 'bundle.pem');
  }

  audit(): readonly Record<string, unknown>[] {
    return readFileSync(this.auditLog, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async ready(): Promise<void> {
    await waitFor(
      'the control plane to be ready',
      async () => {
        this.#child.assertRunning();
        const response = await fetch(`http://${this.admin}/readyz`);
        return response.status === 200 ? true : undefined;
      },
      { timeoutMs: 60_000 },
    );
  }

  async metrics(): Promise<string> {
    return await (await fetch(`http://${this.admin}/metrics`)).text();
  }

  /** A metric without labels. @throws Error where there is none */
  async metric(name: string): Promise<number> {
    const value = new RegExp(`^${name} (\\S+)$`, 'mu').exec(await this.metrics())?.[1];
    if (value === undefined) throw new Error(`the control plane has no metric ${name}`);
    return Number(value);
  }

  async readyz(): Promise<string> {
    return await (await fetch(`http://${this.admin}/readyz`)).text();
  }

  /** What `countersign COMMAND --data-dir ...` prints. @throws Error with its stderr, where it fails */
  async ask(command: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.tryToAsk(command, ...args);
    if (code !== 0) throw new Error(`countersign ${command}: ${stderr}`);
    return stdout.trim();
  }

  /** As `ask`, whatever comes of it. @param command with its subcommand: `rotate prepare` */
  async tryToAsk(command: string, ...args: readonly string[]): ReturnType<typeof run> {
    return await run(countersign, [...command.split(' '), '--data-dir', this.dataDir, ...args]);
  }

  async stop(): Promise<number | null> {
    return await this.#child.stop();
  }

  async killHard(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child.exited;
  }

  /** Killed in the middle of whatever it does, and started again on the same ports and data. */
  async crash(): Promise<void> {
    await this.killHard();
    this.#child = this.#spawn();
    await this.ready();
  }

  /** Again, on the same ports and data. */
  async restart(): Promise<void> {
    await this.stop();
    this.#child = this.#spawn();
    await this.ready();
  }

  /** The same with further flags. */
  async restartWith(flags: readonly string[]): Promise<void> {
    this.#flags = [...this.#flags, ...flags];
    await this.restart();
  }

  #spawn(): Child {
    const home =
      'directory' in this.#home
        ? ['--directory', this.#home.directory]
        : ['--kubeconfig', this.#home.kubeconfig];
    const args = ['control-plane', ...home, '--data-dir', this.dataDir];
    args.push(
      '--listen',
      this.address,
      '--admin',
      this.admin,
      '--audit-log',
      join(this.dataDir, 'audit.log'),
    );
    return new Child('control-plane', countersign, [...args, ...this.#flags], { env: this.#env });
  }
}
