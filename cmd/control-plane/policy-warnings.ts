import type { Mesh, MeshNotice, ObjectKey, ServicePort } from '../../src/mesh/index.ts';
import {
  lintTogether,
  type AuthorizationPolicy,
  type Issue,
  type MeshSettings,
  type PolicyIssue,
  type Surroundings,
} from '../../src/policy/index.ts';
import { isTcp } from '../authz-surroundings.ts';
import type { LiveSettings } from './live-settings.ts';

/** After the push, and once for changes that come together: a namespace arrives as several files. Milliseconds. */
const DELAY_MS = 1_000;
/** Of rules and values, at one time: warnings must not keep the control plane from its work. */
const COMPARISONS = 200_000;

/** What was warned of may have been mended elsewhere: a service account was made, another policy removed. */
const AGAIN_MS = 10_000;

/** The part of a log that warnings go to. */
export interface Warned {
  readonly warn: (about: object, message: string) => void;
}

/** Warns of policies that are legal and hardly meant, when they change. What was said is not said again. */
export class PolicyWarnings {
  readonly #mesh: Mesh;
  readonly #settings: LiveSettings;
  readonly #log: Warned;
  readonly #unsubscribe: readonly (() => void)[];
  readonly #changed = new Set<string>();
  readonly #found = new Map<string, readonly PolicyIssue[]>();
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(mesh: Mesh, settings: LiveSettings, log: Warned) {
    this.#mesh = mesh;
    this.#settings = settings;
    this.#log = log;
    this.#unsubscribe = [
      mesh.subscribe((notice) => this.#meshChanged(notice)),
      settings.onChange(() => this.#settingsChanged()),
    ];
  }

  /** Of a policy, by the mesh's key. */
  of(key: ObjectKey): readonly Issue[] {
    return this.#found.get(key) ?? [];
  }

  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    for (const stop of this.#unsubscribe) stop();
    clearTimeout(this.#timer);
    clearTimeout(this.#again);
  }

  #meshChanged({ changes }: MeshNotice): void {
    for (const { kind, key } of changes) if (kind === 'AuthorizationPolicy') this.#changed.add(key);
    this.#soon();
    if (this.#found.size > 0) this.#again ??= setTimeout(() => this.#judgeAgain(), AGAIN_MS).unref();
  }

  #settingsChanged(): void {
    for (const { policy } of this.#mesh.list('AuthorizationPolicy')) this.#changed.add(keyOf(policy));
    this.#soon();
  }

  #soon(): void {
    if (this.#changed.size > 0) this.#timer ??= setTimeout(() => this.#judge(), DELAY_MS).unref();
  }

  #judgeAgain(): void {
    this.#again = undefined;
    for (const key of this.#found.keys()) this.#changed.add(key);
    this.#judge();
  }

  #judge(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const keys = this.#changed;
    const findings = Map.groupBy(findingsOf(this.#mesh, this.#settings.current, keys), ({ policy }) =>
      keyOf(policy),
    );
    for (const key of keys) {
      const before = new Set(this.#found.get(key)?.map(lineOf));
      const found = findings.get(key) ?? [];
      for (const issue of found) {
        const { code, path, message } = issue;
        if (!before.has(lineOf(issue))) this.#log.warn({ policy: key, field: path, code }, message);
      }
      if (found.length === 0) this.#found.delete(key);
      else this.#found.set(key, found);
    }
    keys.clear();
    for (const listener of this.#listeners) listener();
  }
}

function lineOf({ path, message }: Issue): string {
  return `${path}: ${message}`;
}

/** What lints say of a policy that is not in the mesh yet, beside those that are. */
export function warningsOf(
  policy: AuthorizationPolicy,
  mesh: Mesh,
  settings: MeshSettings,
  comparisons: number,
): readonly Issue[] {
  const { apiGroup, namespace, name } = policy;
  const others = [...mesh.list('AuthorizationPolicy')].flatMap(({ policy: other }) => {
    const [bare] = other.name.split('@');
    const former = other.apiGroup === apiGroup && other.namespace === namespace && bare === name;
    const near = other.namespace === namespace || other.namespace === settings.rootNamespace;
    return near && !former ? [other] : [];
  });
  return lintTogether([...others, policy], {
    ...surroundingsOf(mesh, settings),
    judged: (each) => each === policy,
    comparisons,
  });
}

function findingsOf(mesh: Mesh, settings: MeshSettings, changed: ReadonlySet<string>): PolicyIssue[] {
  const policies = [...mesh.list('AuthorizationPolicy')].map(({ policy }) => policy);
  return lintTogether(policies, {
    ...surroundingsOf(mesh, settings),
    judged: (policy) => changed.has(keyOf(policy)),
    comparisons: COMPARISONS,
  });
}

function surroundingsOf(mesh: Mesh, settings: MeshSettings): Surroundings {
  const withTcp = mesh.list('Service').flatMap(({ namespace, selector, ports }) => {
    const labels = Object.entries(selector);
    const tcp = ports.filter(isTcpPort).map(({ port, targetPort }) => numberOf(targetPort) ?? port);
    return labels.length === 0 || tcp.length === 0 ? [] : [{ namespace, labels, tcp }];
  });
  const services = Map.groupBy(withTcp, ({ namespace }) => namespace);
  return {
    rootNamespace: settings.rootNamespace,
    trustDomains: [settings.trustDomain, ...(settings.trustDomainAliases ?? [])],
    providers: (settings.authorizers ?? []).map(({ name }) => name),
    ...(mesh.count('Namespace') > 0 && {
      hasNamespace: (name): boolean => mesh.get('Namespace', name) !== undefined,
    }),
    // Kubernetes itself makes this one in every namespace.
    hasServiceAccount: (namespace, name): boolean =>
      name === 'default' || mesh.get('ServiceAccount', `${namespace}/${name}`) !== undefined,
    selectsAny: (policy): boolean => mesh.workloadsOf(policy).length > 0,
    tcpPorts: (policy): readonly number[] => {
      const ports = new Set<number>();
      const left = new Set(withTcp);
      for (const { namespace, labels: own } of mesh.workloadsOf(policy)) {
        for (const service of services.get(namespace) ?? []) {
          if (!left.has(service) || !service.labels.every(([name, value]) => own[name] === value)) continue;
          left.delete(service);
          for (const port of service.tcp) ports.add(port);
        }
        if (left.size === 0) break;
      }
      return [...ports].toSorted((a, b) => a - b);
    },
  };
}

function numberOf(port: number | string): number | undefined {
  return typeof port === 'number' ? port : undefined;
}

function isTcpPort({ name, appProtocol }: ServicePort): boolean {
  return isTcp(name, appProtocol);
}

function keyOf({ namespace, name }: AuthorizationPolicy): string {
  return `${namespace}/${name}`;
}
