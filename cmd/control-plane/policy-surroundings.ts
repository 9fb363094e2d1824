import type { Mesh, ServicePort } from '../../src/mesh/index.ts';
import type { AuthnSurroundings, MeshSettings, Surroundings } from '../../src/policy/index.ts';
import { isTcp } from '../authz-surroundings.ts';

/** What lints need to know of the mesh around the policies. */
export function surroundingsOf(mesh: Mesh, settings: MeshSettings): Surroundings & AuthnSurroundings {
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
