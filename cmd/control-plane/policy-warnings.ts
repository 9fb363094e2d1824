import type { Mesh, MeshNotice } from '../../src/mesh/index.ts';
import {
  lintTogether,
  type AuthorizationPolicy,
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

/** The part of a log that warnings go to. */
export interface Warned {
  readonly warn: (about: object, message: string) => void;
}

/**
 * Warns of policies that are legal and hardly meant, when they change. What was said of a policy before is not
 * said again.
 *
 * @returns the function that stops it.
 */
export function watchPolicies(mesh: Mesh, settings: LiveSettings, log: Warned): () => void {
  const changed = new Set<string>();
  const said = new Map<string, ReadonlySet<string>>();
  let timer: NodeJS.Timeout | undefined;
  const judge = (): void => {
    timer = undefined;
    const findings = Map.groupBy(findingsOf(mesh, settings.current, changed), ({ policy }) => keyOf(policy));
    for (const key of changed) {
      const before = said.get(key);
      const lines = new Set<string>();
      for (const { code, path, message } of findings.get(key) ?? []) {
        const line = `${path}: ${message}`;
        lines.add(line);
        if (before?.has(line) !== true) log.warn({ policy: key, field: path, code }, message);
      }
      if (lines.size === 0) said.delete(key);
      else said.set(key, lines);
    }
    changed.clear();
  };
  const soon = (): void => {
    if (changed.size > 0) timer ??= setTimeout(judge, DELAY_MS).unref();
  };
  const unsubscribe = mesh.subscribe((notice: MeshNotice) => {
    for (const { kind, key } of notice.changes) if (kind === 'AuthorizationPolicy') changed.add(key);
    soon();
  });
  const unsubscribeSettings = settings.onChange(() => {
    for (const { policy } of mesh.list('AuthorizationPolicy')) changed.add(keyOf(policy));
    soon();
  });
  return () => {
    unsubscribe();
    unsubscribeSettings();
    clearTimeout(timer);
  };
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
  const services = Map.groupBy(mesh.list('Service'), ({ namespace }) => namespace);
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
      for (const { namespace, labels } of mesh.workloadsOf(policy)) {
        for (const { selector, ports: served } of services.get(namespace) ?? []) {
          const wanted = Object.entries(selector);
          if (wanted.length === 0 || !wanted.every(([name, value]) => labels[name] === value)) continue;
          for (const { name, appProtocol, port, targetPort } of served)
            if (isTcp(name, appProtocol)) ports.add(typeof targetPort === 'number' ? targetPort : port);
        }
      }
      return [...ports].toSorted((a, b) => a - b);
    },
  };
}

function keyOf({ namespace, name }: AuthorizationPolicy): string {
  return `${namespace}/${name}`;
}
