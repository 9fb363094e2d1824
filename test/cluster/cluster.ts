import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from '../harness/ports.ts';
import { run } from '../harness/process.ts';
import { ApiClient } from './api-client.ts';
import { ApiServer } from './api-server.ts';
import { AuditLog } from './audit-log.ts';
import { Etcd } from './etcd.ts';
import { Make } from './make.ts';
import { SigningKeys } from './signing-keys.ts';
import { requestToken, reviewToken, type Review, type TokenOptions } from './tokens.ts';
import { clusterTool } from './tools.ts';

export interface TestClusterOptions {
  /** Of service account tokens; their default audience too. */
  readonly issuer?: string;
  /** Added to those of kube-apiserver. */
  readonly flags?: readonly string[];
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A real etcd and a real kube-apiserver, with RBAC and an audit log, in a temporary folder. There is no controller
 * and no kubelet: `make` stands in for them.
 */
export class TestCluster {
  readonly folder: string;
  readonly issuer: string;
  readonly url: string;
  readonly etcd: Etcd;
  readonly apiServer: ApiServer;
  readonly audit: AuditLog;
  /** May do everything. */
  readonly operator: ApiClient;
  /** Of the operator. */
  readonly kubeconfig: string;
  readonly make: Make;
  readonly #keys: SigningKeys;
  readonly #clients: ApiClient[] = [];
  #kubeconfigs = 0;

  private constructor(folder: string, port: number, options: TestClusterOptions) {
    this.folder = folder;
    this.issuer = options.issuer ?? 'https://kubernetes.default.svc';
    this.url = `https://127.0.0.1:${port}`;
    this.audit = new AuditLog(join(folder, 'audit.log'));
    mkdirSync(join(folder, 'home'));
    this.#keys = new SigningKeys(folder);
    const token = randomBytes(16).toString('hex');
    const tokens = this.#write('tokens.csv', `${token},operator,operator,system:masters\n`);
    const policy = {
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      omitStages: ['RequestReceived'],
      rules: [{ level: 'Metadata' }],
    };
    const auditPolicy = this.#write('audit-policy.yaml', stringify(policy));
    this.operator = this.clientWith(token);
    this.kubeconfig = this.#writeKubeconfig('operator', token, this.url);
    this.make = new Make(this.operator);
    this.etcd = new Etcd(folder);
    this.apiServer = new ApiServer({
      folder,
      port,
      etcd: this.etcd,
      operator: this.operator,
      flags: () => [
        `--service-account-issuer=${this.issuer}`,
        ...this.#keys.flags,
        `--token-auth-file=${tokens}`,
        `--audit-policy-file=${auditPolicy}`,
        `--audit-log-path=${join(folder, 'audit.log')}`,
        ...(options.flags ?? []),
      ],
    });
  }

  /** Both run, and are ready. @throws Error with the end of the log of that which does not */
  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-cluster-'));
    const cluster = new TestCluster(folder, await freePort(), options);
    try {
      await cluster.etcd.start();
      await cluster.apiServer.start();
      return cluster;
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
  }

  /** A client with that token: what it may do is up to RBAC. @param url as of `kubeconfigOf` */
  clientWith(token: string, url: string = this.url): ApiClient {
    const client = new ApiClient(url, this.#caFile, token);
    this.#clients.push(client);
    return client;
  }

  /** As a kubelet asks for it. */
  async token(options: TokenOptions): Promise<string> {
    return await requestToken(this.operator, options);
  }

  async review(token: string, audiences?: readonly string[]): Promise<Review> {
    return await reviewToken(this.operator, token, audiences);
  }

  /**
   * The path of a kubeconfig whose user is that service account: it may do what RBAC gives it, and no more.
   * @param url of a `Wire` to the API server; absent: its own
   */
  async kubeconfigOf(options: TokenOptions, url: string = this.url): Promise<string> {
    this.#kubeconfigs += 1;
    const name = `${options.serviceAccount}-${this.#kubeconfigs}`;
    return this.#writeKubeconfig(name, await this.token(options), url);
  }

  /** As an operator runs it; a kubeconfig other than his by `--kubeconfig`. @param input its stdin, for `-f -` */
  async kubectl(args: readonly string[], input?: string): Promise<Ran> {
    return await run(clusterTool('kubectl'), args, { env: this.#toolEnvironment(), input });
  }

  async helm(args: readonly string[], input?: string): Promise<Ran> {
    return await run(clusterTool('helm'), args, { env: this.#toolEnvironment(), input });
  }

  /** One line of a shell in which kubectl and helm are on PATH. */
  async shell(line: string, directory: string): Promise<Ran> {
    const path = `${dirname(clusterTool('kubectl'))}:${process.env['PATH'] ?? ''}`;
    const env = { ...this.#toolEnvironment(), PATH: path };
    return await run('sh', ['-c', `cd "$0" && ${line}`, directory], { env });
  }

  /** The API server starts again and signs with a new key; tokens of the old one hold until `retireOldKeys`. */
  async rotateSigningKey(): Promise<void> {
    this.#keys.add();
    await this.apiServer.restart();
  }

  async retireOldKeys(): Promise<void> {
    this.#keys.retireOld();
    await this.apiServer.restart();
  }

  /** Everything ends, and the folder goes. */
  async dispose(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.apiServer.kill();
    await this.etcd.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #caFile(): string {
    return join(this.folder, 'tls', 'apiserver.crt');
  }

  #write(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  #writeKubeconfig(name: string, token: string, server: string): string {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server, 'certificate-authority': this.#caFile } }],
      users: [{ name, user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
      'current-context': 'test',
    };
    return this.#write(`${name}.kubeconfig`, stringify(config));
  }

  /** Nothing of the person who runs the tests, and nothing left with him. */
  #toolEnvironment(): NodeJS.ProcessEnv {
    const home = join(this.folder, 'home');
    return {
      KUBECONFIG: this.kubeconfig,
      HOME: home,
      HELM_CACHE_HOME: home,
      HELM_CONFIG_HOME: home,
      HELM_DATA_HOME: home,
      NO_PROXY: '*',
    };
  }
}
