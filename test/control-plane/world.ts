import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { TestControlPlane } from '../harness/control-plane.ts';
import { countersign } from '../harness/paths.ts';
import { Child } from '../harness/process.ts';

/** Manifests of a pod and of the service account that it runs as. */
export interface PodSpec {
  /** `namespace/name`; the service account has the same name, and the label is `app: name`. */
  readonly pod: string;
  readonly ip?: string;
  readonly node?: string;
  readonly uid?: string;
}

/** A folder of manifests and a data directory, both temporary, and the control planes that run on them. */
export class World {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'countersign-test-'));
  readonly manifests: string = join(this.folder, 'manifests');
  readonly dataDir: string = join(this.folder, 'data');
  readonly #running: { stop(): Promise<unknown> }[] = [];

  constructor(...pods: readonly (string | PodSpec)[]) {
    mkdirSync(this.manifests);
    for (const pod of pods) this.writePod(typeof pod === 'string' ? { pod } : pod);
  }

  /** Ready to be used. */
  async start(...flags: readonly string[]): Promise<TestControlPlane> {
    const controlPlane = await TestControlPlane.start({
      directory: this.manifests,
      dataDir: this.dataDir,
      flags,
    });
    this.#running.push(controlPlane);
    return controlPlane;
  }

  /** A control plane process as it is, on ports that the system chooses unless told otherwise; nothing is waited for. */
  spawn(...flags: readonly string[]): Child {
    const given = (flag: string): boolean => flags.includes(flag);
    const child = new Child('control-plane', countersign, [
      'control-plane',
      ...(given('--directory') ? [] : ['--directory', this.manifests]),
      ...(given('--data-dir') ? [] : ['--data-dir', this.dataDir]),
      ...(given('--listen') ? [] : ['--listen', '127.0.0.1:0']),
      ...(given('--admin') ? [] : ['--admin', '127.0.0.1:0']),
      ...flags,
    ]);
    this.#running.push(child);
    return child;
  }

  /** A start that must fail. @returns the message of its fatal log line, and its whole output */
  async refused(
    ...flags: readonly string[]
  ): Promise<{ code: number | null; message: string; output: string }> {
    const child = this.spawn(...flags);
    const code = await child.exited;
    const output = child.stdout + child.stderr;
    const fatal = logLines(child.stderr).find(({ level }) => level === 'fatal');
    return { code, message: asText(fatal?.['msg']), output };
  }

  /** By rename: the control plane never sees half a file. */
  write(name: string, text: string): void {
    const file = join(this.manifests, name);
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }

  remove(name: string): void {
    rmSync(join(this.manifests, name));
  }

  writePod({ pod, ip = '127.0.0.1', node = 'node-1', uid }: PodSpec): void {
    const [namespace, name] = pod.split('/');
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name } };
    const manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name, labels: { app: name }, ...(uid === undefined ? {} : { uid }) },
      spec: { serviceAccountName: name, nodeName: node, containers: [{ name: 'app', image: 'app' }] },
      status: { phase: 'Running', podIP: ip },
    };
    this.write(podFile(pod), `${stringify(account)}---\n${stringify(manifest)}`);
  }

  removePod(pod: string): void {
    this.remove(podFile(pod));
  }

  /** A policy of this name in the pod's namespace, which lets these paths of the pod be called. */
  writePolicy(pod: string, name: string, ...paths: readonly string[]): void {
    const [namespace, app] = pod.split('/');
    const policy = {
      apiVersion: 'security.countersign.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { namespace, name },
      spec: { selector: { matchLabels: { app } }, rules: [{ to: [{ operation: { paths } }] }] },
    };
    this.write(`policy-${name}.yaml`, stringify(policy));
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map((process) => process.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function podFile(pod: string): string {
  return `pod-${pod.replace('/', '-')}.yaml`;
}

/** The JSON lines of a log. */
export function logLines(text: string): readonly Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** A field that must be text. */
export function asText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** What a stack trace looks like. */
export const stackTrace: RegExp = /^\s*at .*:\d+:\d+|\\n\s+at |node:internal/mu;
