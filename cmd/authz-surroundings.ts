import {
  selects,
  type AuthnSurroundings,
  type MeshSettings,
  type Selecting,
  type Surroundings,
} from '../src/policy/index.ts';
import type { Manifest } from '../src/sources/manifests/index.ts';
import { mapping, type AuthzInput, type InputPod } from './authz-input.ts';

/** Protocols, by the name or `appProtocol` of a Service's port, that are not HTTP. */
const TCP: ReadonlySet<string> = new Set(['tcp', 'tls', 'mongo', 'mysql', 'postgres', 'postgresql', 'redis']);

/** Whether a Service's port speaks no HTTP. What has no appProtocol says it by its name's first word, as in `tcp-orders`. */
export function isTcp(name: string, appProtocol: string): boolean {
  return TCP.has(appProtocol === '' ? (name.split('-')[0] ?? '') : appProtocol);
}

/** What manifests tell of the mesh. Where they hold no pod or no account at all, nothing is said to be missing. */
export function surroundingsOf(
  { pods, others }: AuthzInput,
  settings: MeshSettings,
  trustDomains: readonly string[] | undefined,
): Surroundings & AuthnSurroundings {
  const accounts = ofKind(others, 'ServiceAccount').map(placeOf);
  const namespaces = new Set([
    ...ofKind(others, 'Namespace').map(({ value }) => String(mapping(value['metadata'])['name'])),
    ...[...accounts, ...pods.values()].map(({ namespace }) => namespace),
  ]);
  // Kubernetes itself makes this one in every namespace.
  const names = new Set([
    ...accounts.map(({ namespace, name }) => `${namespace}/${name}`),
    ...[...namespaces].map((namespace) => `${namespace}/default`),
  ]);
  const ports = ofKind(others, 'Service').flatMap(tcpPortsOf);
  const selected = (policy: Selecting): InputPod[] =>
    [...pods.values()].filter((pod) => selects(policy, pod, settings));
  return {
    rootNamespace: settings.rootNamespace,
    ...(trustDomains && { trustDomains }),
    ...(namespaces.size > 0 && { hasNamespace: (name): boolean => namespaces.has(name) }),
    ...(accounts.length > 0 && {
      hasServiceAccount: (namespace, name): boolean => names.has(`${namespace}/${name}`),
    }),
    ...(pods.size > 0 && {
      selectsAny: (policy): boolean => selected(policy).length > 0,
      shareAny: (one, other): boolean => selected(one).some((pod) => selects(other, pod, settings)),
    }),
    tcpPorts: (policy): readonly number[] => {
      const met = ports.filter(({ serves }) => selected(policy).some(serves));
      return [...new Set(met.map(({ port }) => port))].toSorted((a, b) => a - b);
    },
  };
}

function ofKind(manifests: readonly Manifest[], kind: string): Manifest[] {
  return manifests.filter(({ value }) => value['kind'] === kind);
}

function placeOf({ value }: Manifest): { readonly namespace: string; readonly name: string } {
  const { namespace, name } = mapping(value['metadata']);
  return {
    namespace: typeof namespace === 'string' ? namespace : 'default',
    name: typeof name === 'string' ? name : '',
  };
}

interface TcpPort {
  readonly port: number;
  readonly serves: (pod: InputPod) => boolean;
}

function tcpPortsOf(manifest: Manifest): TcpPort[] {
  const spec = mapping(manifest.value['spec']);
  const selector = Object.entries(mapping(spec['selector']));
  const { namespace } = placeOf(manifest);
  if (selector.length === 0 || !Array.isArray(spec['ports'])) return [];
  const serves = (pod: InputPod): boolean =>
    pod.namespace === namespace && selector.every(([name, value]) => pod.labels[name] === value);
  return spec['ports'].flatMap((entry: unknown): TcpPort[] => {
    const { name, appProtocol, port, targetPort } = mapping(entry);
    const number = typeof targetPort === 'number' ? targetPort : port;
    const tcp = isTcp(String(name), typeof appProtocol === 'string' ? appProtocol : '');
    return tcp && typeof number === 'number' ? [{ port: number, serves }] : [];
  });
}
