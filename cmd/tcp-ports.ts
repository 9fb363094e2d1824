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
export function isTcp(name: string, appProtocol: string): boolean {
  return TCP.has(appProtocol === '' ? (name.split('-')[0] ?? '') : appProtocol);
}

/** Ports of the workloads on which Services speak no HTTP, ascending. A named target counts by the Service's own port. */
export function tcpPortsOf(workloads: readonly Workload[], services: Iterable<Serving>): readonly number[] {
  const ports = new Set<number>();
  for (const { namespace, selector, ports: served } of services) {
    const tcp = served.filter(({ name, appProtocol }) => isTcp(name, appProtocol));
    if (tcp.length === 0 || Object.keys(selector).length === 0) continue;
    const serves = workloads.some((each) => each.namespace === namespace && satisfies(each.labels, selector));
    if (!serves) continue;
    for (const { port, targetPort } of tcp) ports.add(typeof targetPort === 'number' ? targetPort : port);
  }
  return [...ports].toSorted((a, b) => a - b);
}
