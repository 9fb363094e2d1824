import type { ServicePort } from '../src/mesh/index.ts';
import { satisfies } from '../src/policy/index.ts';

interface Workload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What of a Service says which ports of which pods speak what. */
export interface Serving {
  readonly namespace: string;
  /** Empty: it serves no pod by itself. */
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly Pick<ServicePort, 'name' | 'appProtocol' | 'port' | 'targetPort'>[];
}

/** Protocols, by the name or `appProtocol` of a Service's port, that are not HTTP. */
const TCP: ReadonlySet<string> = new Set(['tcp', 'tls', 'mongo', 'mysql', 'postgres', 'postgresql', 'redis']);

/** What has no `appProtocol` says it by its name's first word, as in `tcp-orders`. */
function isTcp(name: string, appProtocol: string): boolean {
  return TCP.has(appProtocol === '' ? (name.split('-')[0] ?? '') : appProtocol);
}

/** What a Service says of ports that speak no HTTP. */
export interface TcpService extends Pick<Serving, 'namespace' | 'selector'> {
  readonly ports: readonly number[];
}

/** Those that select pods and have ports which speak no HTTP. A named target counts by the Service's own port. */
export function tcpServicesOf(services: readonly Serving[]): TcpService[] {
  return services.flatMap(({ namespace, selector, ports: served }) => {
    const ports = served
      .filter(({ name, appProtocol }) => isTcp(name, appProtocol))
      .map(({ port, targetPort }) => (typeof targetPort === 'number' ? targetPort : port));
    return ports.length === 0 || Object.keys(selector).length === 0 ? [] : [{ namespace, selector, ports }];
  });
}

/** Ports of the workloads on which these Services speak no HTTP, ascending. */
export function tcpPortsOf(
  workloads: readonly Workload[],
  services: readonly TcpService[],
): readonly number[] {
  const near = Map.groupBy(workloads, ({ namespace }) => namespace);
  const met = services.filter(({ namespace, selector }) =>
    near.get(namespace)?.some(({ labels }) => satisfies(labels, selector)),
  );
  return [...new Set(met.flatMap(({ ports }) => ports))].toSorted((a, b) => a - b);
}
