import { at, type ApiClient, type KubeObject } from './api-client.ts';

export interface PodSpec {
  readonly namespace: string;
  readonly name: string;
  /** Absent: `default`, which `namespace` makes. */
  readonly serviceAccount?: string;
  /** Absent: not scheduled. */
  readonly node?: string;
  /** Any address, loopback too; the first is `podIP`. Absent: none yet. */
  readonly ips?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Absent: `Running` where it has an address, else `Pending`. */
  readonly phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
  /** Absent: one container. */
  readonly containers?: readonly object[];
}

export interface Port {
  readonly name?: string;
  readonly port: number;
  readonly targetPort?: number | string;
  readonly protocol?: 'TCP' | 'UDP';
  readonly appProtocol?: string;
}

export interface EndpointSliceSpec {
  readonly namespace: string;
  readonly service: string;
  /** Absent: the service's name and `-1`. */
  readonly name?: string;
  /** The API server takes no loopback address here. */
  readonly endpoints: readonly { ip: string; pod?: string; node?: string; ready?: boolean }[];
  readonly ports: readonly Port[];
}

/** Makes what controllers and kubelets make elsewhere: here are neither. */
export class Make {
  readonly #client: ApiClient;

  constructor(client: ApiClient) {
    this.#client = client;
  }

  /** With its service account `default`. */
  async namespace(name: string, labels: Readonly<Record<string, string>> = {}): Promise<KubeObject> {
    const made = await this.#client.create(at('namespaces'), { metadata: { name, labels } });
    await this.serviceAccount(name, 'default');
    return made;
  }

  async serviceAccount(
    namespace: string,
    name: string,
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<KubeObject> {
    return await this.#client.create(at('serviceaccounts', namespace), { metadata: { name, annotations } });
  }

  async node(name: string, ip = '192.0.2.1'): Promise<KubeObject> {
    await this.#client.create(at('nodes'), { metadata: { name } });
    return await this.#client.merge(at('nodes', undefined, name, 'status'), {
      status: {
        addresses: [{ type: 'InternalIP', address: ip }],
        conditions: [condition('Ready', true)],
      },
    });
  }

  /** As it is once its kubelet has started it. */
  async pod(spec: PodSpec): Promise<KubeObject> {
    const { namespace, name, labels = {}, annotations = {}, ips = [] } = spec;
    const created = await this.#client.create(at('pods', namespace), {
      metadata: { name, labels, annotations },
      spec: {
        serviceAccountName: spec.serviceAccount ?? 'default',
        ...(spec.node === undefined ? {} : { nodeName: spec.node }),
        containers: spec.containers ?? [{ name: 'app', image: 'example.com/app' }],
      },
    });
    const phase = spec.phase ?? (ips.length === 0 ? 'Pending' : 'Running');
    return phase === 'Pending' && ips.length === 0
      ? created
      : await this.podStatus(namespace, name, { phase, ips });
  }

  /** What its kubelet would say of it now. */
  async podStatus(
    namespace: string,
    name: string,
    { phase = 'Running', ips = [] }: Pick<PodSpec, 'phase' | 'ips'>,
  ): Promise<KubeObject> {
    return await this.#client.merge(at('pods', namespace, name, 'status'), {
      status: {
        phase,
        conditions: ['ContainersReady', 'Ready'].map((each) => condition(each, phase === 'Running')),
        startTime: new Date().toISOString(),
        ...(ips.length === 0 ? {} : { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
      },
    });
  }

  /** As the node lifecycle controller does when it hears nothing of the pod's node: its kubelet has not said so. */
  async podUnheard(namespace: string, name: string): Promise<KubeObject> {
    return await this.#client.merge(at('pods', namespace, name, 'status'), {
      status: { conditions: [condition('ContainersReady', true), condition('Ready', false)] },
    });
  }

  /** With a cluster address of the API server's choice. */
  async service(
    namespace: string,
    name: string,
    ports: readonly Port[],
    selector: Readonly<Record<string, string>> = { app: name },
  ): Promise<KubeObject> {
    return await this.#client.create(at('services', namespace), {
      metadata: { name },
      spec: { selector, ports },
    });
  }

  async endpointSlice(spec: EndpointSliceSpec): Promise<KubeObject> {
    const { namespace, service, name = `${service}-1`, endpoints, ports } = spec;
    const isIpv6 = endpoints[0]?.ip.includes(':') === true;
    return await this.#client.create(at('discovery.k8s.io/v1/endpointslices', namespace), {
      metadata: { name, labels: { 'kubernetes.io/service-name': service } },
      addressType: isIpv6 ? 'IPv6' : 'IPv4',
      endpoints: endpoints.map(({ ip, pod, node, ready = true }) => ({
        addresses: [ip],
        conditions: { ready, serving: ready, terminating: false },
        ...(node === undefined ? {} : { nodeName: node }),
        ...(pod === undefined ? {} : { targetRef: { kind: 'Pod', namespace, name: pod } }),
      })),
      ports: ports.map(({ targetPort, ...port }) => ({
        ...port,
        port: typeof targetPort === 'number' ? targetPort : port.port,
      })),
    });
  }
}

function condition(type: string, holds: boolean): object {
  return { type, status: holds ? 'True' : 'False', lastTransitionTime: new Date().toISOString() };
}
