import {
  selects,
  type AuthnSurroundings,
  type MeshSettings,
  type Selecting,
  type Surroundings,
} from '../src/policy/index.ts';
import type { Manifest } from '../src/sources/manifests/index.ts';
import { mapping, type AuthzInput, type InputPod } from './authz-input.ts';
import { tcpPortsOf, tcpServicesOf, type Serving } from './tcp-ports.ts';

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
  const services = tcpServicesOf(ofKind(others, 'Service').map(serviceOf));
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
    tcpPorts: (policy): readonly number[] => tcpPortsOf(selected(policy), services),
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

function serviceOf(manifest: Manifest): Serving {
  const { selector, ports } = mapping(manifest.value['spec']);
  const pairs = Object.entries(mapping(selector)).map(([name, value]) => [name, String(value)] as const);
  return {
    namespace: placeOf(manifest).namespace,
    selector: Object.fromEntries(pairs),
    ports: (Array.isArray(ports) ? ports : []).flatMap((entry: unknown) => {
      const { name, appProtocol, port, targetPort } = mapping(entry);
      if (typeof port !== 'number') return [];
      return [
        {
          name: typeof name === 'string' ? name : '',
          appProtocol: typeof appProtocol === 'string' ? appProtocol : '',
          port,
          targetPort: typeof targetPort === 'number' ? targetPort : '',
        },
      ];
    }),
  };
}
