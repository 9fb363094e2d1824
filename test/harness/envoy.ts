import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { countersign, envoyPath } from './paths.ts';
import { freePort } from './ports.ts';
import { Child, run } from './process.ts';
import { waitFor } from './wait.ts';

let baseId = process.pid * 100;

/** One line of the JSON access log that the bootstrap writes. */
export interface AccessLogLine {
  readonly direction: 'inbound' | 'outbound';
  /** How an inbound connection came. */
  readonly chain?: 'mtls' | 'plaintext';
  readonly source: string | null;
  readonly destination: string | null;
  readonly method?: string;
  readonly path?: string;
  readonly status?: number;
  readonly details: string | null;
  readonly denied_by?: string | null;
  readonly allowed_by?: string | null;
  readonly audited_by?: string | null;
  readonly shadow_denied_by?: string | null;
  readonly shadow_allowed_by?: string | null;
  readonly tls_failure?: string | null;
  readonly upstream_failure?: string | null;
}

/** A real Envoy sidecar, run with the bootstrap that `countersign bootstrap` printed. */
export class TestEnvoy {
  readonly pod: string;
  readonly adminPort: number;
  readonly tokenFile: string;
  readonly #child: Child;
  readonly #accessLog: string;

  private constructor(pod: string, adminPort: number, tokenFile: string, child: Child, accessLog: string) {
    this.pod = pod;
    this.adminPort = adminPort;
    this.tokenFile = tokenFile;
    this.#child = child;
    this.#accessLog = accessLog;
  }

  /**
   * @param folder where bootstrap, token and logs go; made by the caller
   * @param flags of `countersign bootstrap`: listeners, variant
   */
  static async start(options: {
    pod: string;
    folder: string;
    controlPlane: string;
    bundle: string;
    token: string;
    flags: readonly string[];
    /** Changes the bootstrap before Envoy reads it. */
    edit?: (bootstrap: string) => string;
  }): Promise<TestEnvoy> {
    const { pod, folder } = options;
    const name = pod.replace('/', '-');
    const tokenFile = join(folder, `${name}.token`);
    writeFileSync(tokenFile, options.token, { mode: 0o600 });
    const accessLog = join(folder, `${name}.access.log`);
    const adminPort = await freePort();
    const { code, stdout, stderr } = await run(countersign, [
      ...['bootstrap', '--pod', pod, '--control-plane', options.controlPlane],
      ...['--ca', options.bundle, '--token', tokenFile, '--admin-port', String(adminPort)],
      ...['--access-log', accessLog, ...options.flags],
    ]);
    if (code !== 0) throw new Error(`countersign bootstrap: ${stderr}`);
    const config = join(folder, `${name}.envoy.json`);
    writeFileSync(config, options.edit?.(stdout) ?? stdout);
    writeFileSync(accessLog, '');
    baseId += 1;
    const child = new Child(`envoy ${pod}`, envoyPath(), [
      ...['-c', config, '--base-id', String(baseId), '--concurrency', '1', '--log-level', 'warning'],
      ...['--file-flush-interval-msec', '10'],
    ]);
    return new TestEnvoy(pod, adminPort, tokenFile, child, accessLog);
  }

  get log(): string {
    return this.#child.stderr;
  }

  get running(): boolean {
    return this.#child.running;
  }

  /** Waits until its listeners are open; filters may not be there yet. */
  async listening(): Promise<void> {
    await waitFor(
      `the Envoy of ${this.pod} to be ready`,
      async () => {
        this.#child.assertRunning();
        const response = await fetch(`http://127.0.0.1:${this.adminPort}/ready`);
        return response.status === 200 ? true : undefined;
      },
      { timeoutMs: 60_000 },
    );
  }

  /** Waits until its listeners are open and hold the filters that they asked for. */
  async ready(): Promise<void> {
    await this.listening();
    await waitFor(`the filters in the Envoy of ${this.pod}`, async () => {
      const stats = await this.admin('/stats?filter=^extension_config_discovery.*config_reload$');
      return /: 0$/mu.test(stats) ? undefined : true;
    });
  }

  async admin(path: string): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${this.adminPort}${path}`)).text();
  }

  /** Serial numbers of its own certificate(s), as Envoy itself shows them. */
  async serials(): Promise<readonly string[]> {
    const { certificates } = JSON.parse(await this.admin('/certs')) as {
      certificates: readonly { cert_chain?: readonly { serial_number: string }[] }[];
    };
    const serials = certificates.flatMap(({ cert_chain: chain }) => chain?.[0]?.serial_number ?? []);
    return [...new Set(serials)];
  }

  /** A counter or gauge of Envoy's, by its whole name. @throws Error where there is none */
  async stat(name: string): Promise<number> {
    const exact = name.replaceAll(/[.|[\]]/gu, String.raw`\$&`);
    const text = await this.admin(`/stats?filter=${encodeURIComponent(`^${exact}$`)}`);
    const value = /: (\d+)$/mu.exec(text)?.[1];
    if (value === undefined) throw new Error(`the Envoy of ${this.pod} has no stat ${name}`);
    return Number(value);
  }

  accessLog(): readonly AccessLogLine[] {
    return readFileSync(this.#accessLog, 'utf8')
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .map((line) => JSON.parse(line) as AccessLogLine);
  }

  /** The first line that is meant, once it is written. */
  async logged(meant: (line: AccessLogLine) => boolean): Promise<AccessLogLine> {
    return await waitFor(`a line in the access log of ${this.pod}`, () => this.accessLog().find(meant));
  }

  /** It answers nobody until it is thawed; its connections stay open. */
  freeze(): void {
    this.#child.freeze();
  }

  thaw(): void {
    this.#child.thaw();
  }

  async stop(): Promise<void> {
    await this.#child.stop(2_000);
  }
}
