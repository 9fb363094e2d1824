import type { Mesh } from '../../src/mesh/index.ts';
import type { AuthnSurroundings, MeshSettings, Surroundings } from '../../src/policy/index.ts';
import { tcpPortsOf, tcpServicesOf } from '../tcp-ports.ts';

/** What lints need to know of the mesh around the policies. */
export function surroundingsOf(mesh: Mesh, settings: MeshSettings): Surroundings & AuthnSurroundings {
  const federated = (settings.federation ?? []).map(({ trustDomain }) => trustDomain);
  const services = tcpServicesOf([...mesh.list('Service')]);
  return {
    rootNamespace: settings.rootNamespace,
    trustDomains: [settings.trustDomain, ...(settings.trustDomainAliases ?? []), ...federated],
    federated,
    providers: (settings.authorizers ?? []).map(({ name }) => name),
    ...(mesh.count('Namespace') > 0 && {
      hasNamespace: (name): boolean => mesh.get('Namespace', name) !== undefined,
    }),
    // Kubernetes itself makes this one in every namespace.
    hasServiceAccount: (namespace, name): boolean =>
      name === 'default' || mesh.get('ServiceAccount', `${namespace}/${name}`) !== undefined,
    selectsAny: (policy): boolean => mesh.workloadsOf(policy).length > 0,
    tcpPorts: (policy): readonly number[] => tcpPortsOf(mesh.workloadsOf(policy), services),
  };
}
