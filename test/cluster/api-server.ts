import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { at, type ApiClient } from './api-client.ts';
import type { Etcd } from './etcd.ts';
import { Part } from './part.ts';
import { clusterTool } from './tools.ts';

/** Makes its own certificate when it first starts, and keeps it: `tls/apiserver.crt` in the folder. */
export class ApiServer extends Part {
  constructor(options: {
    readonly folder: string;
    readonly port: number;
    readonly etcd: Etcd;
    readonly operator: ApiClient;
    /** Asked for at each start: keys, users and whatever else this cluster differs in. */
    readonly flags: () => readonly string[];
  }) {
    const { folder, port, etcd, operator, flags } = options;
    super({
      name: 'kube-apiserver',
      command: clusterTool('kube-apiserver'),
      args: () => [
        `--etcd-servers=unix://${etcd.socket}`,
        `--cert-dir=${join(folder, 'tls')}`,
        '--bind-address=127.0.0.1',
        // Found by itself otherwise, which fails on a machine without a network.
        '--advertise-address=127.0.0.1',
        `--secure-port=${port}`,
        '--service-cluster-ip-range=10.96.0.0/16',
        '--endpoint-reconciler-type=none',
        // A webhook named by its service is called at the service's endpoints: nothing here carries cluster addresses.
        '--enable-aggregator-routing=true',
        '--authorization-mode=RBAC',
        '--allow-privileged=true',
        '--feature-gates=ClusterTrustBundle=true',
        '--runtime-config=certificates.k8s.io/v1beta1=true',
        ...flags(),
      ],
      ready: async () => {
        // Written after the certificate: before, a client could read half of that, and would trust it for good.
        if (!existsSync(join(folder, 'tls', 'apiserver.key'))) return false;
        const health = await operator.request('GET', '/readyz', { timeoutMs: 2_000 });
        await operator.get(at('namespaces', undefined, 'default'));
        return health === 'ok';
      },
    });
  }
}
