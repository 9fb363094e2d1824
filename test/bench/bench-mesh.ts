import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Pod, ServiceAccount } from '../../src/mesh/index.ts';

/** The mesh of the fleet: pods of fifty apps in ten namespaces, each app with a policy of its own. */
export interface BenchMesh {
  readonly directory: string;
  /** The file whose policy changes: it selects every pod. */
  readonly changingFile: string;
  readonly workloads: readonly { readonly pod: Pod; readonly serviceAccount: ServiceAccount }[];
}

const counts = { namespaces: 10, apps: 50 } as const;
const rootNamespace = 'countersign-system';
const apiVersion = 'security.countersign.dev/v1';

/** The text by which the n-th change is recognized on the wire. */
export function marker(change: number): string {
  return `/bench/change-${String(change).padStart(5, '0')}`;
}

export function writeMesh(folder: string, size: number): BenchMesh {
  const directory = join(folder, 'manifests');
  mkdirSync(join(directory, 'policies'), { recursive: true });
  const workloads = Array.from({ length: size }, (_, at) => workload(at));
  const byApp = Map.groupBy(workloads, ({ serviceAccount }) => serviceAccount);
  for (const [{ namespace, name, uid }, members] of byApp) {
    const documents = [
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name, uid } },
      ...members.map(({ pod }) => podManifest(pod)),
    ];
    write(join(directory, `${namespace}-${name}.yaml`), documents);
    write(join(directory, 'policies', `${namespace}-${name}.yaml`), [appPolicy(namespace, name)]);
  }
  const mesh = { directory, workloads, changingFile: join(directory, 'policies', 'mesh.yaml') };
  write(mesh.changingFile, [meshPolicy(0)]);
  return mesh;
}

/**
 * Writes the n-th version of the policy beside the directory.
 * @returns moves it into place
 */
export function prepareChange(folder: string, mesh: BenchMesh, change: number): () => void {
  const prepared = join(folder, `change-${change}.yaml`);
  write(prepared, [meshPolicy(change)]);
  return () => renameSync(prepared, mesh.changingFile);
}

const serviceAccounts = new Map<number, ServiceAccount>();

function workload(at: number): { pod: Pod; serviceAccount: ServiceAccount } {
  const app = at % counts.apps;
  const namespace = `team-${app % counts.namespaces}`;
  const serviceAccount = serviceAccounts.get(app) ?? {
    kind: 'ServiceAccount',
    namespace,
    name: `app-${app}`,
    uid: `account-${app}`,
    annotations: {},
  };
  serviceAccounts.set(app, serviceAccount);
  const pod: Pod = {
    kind: 'Pod',
    namespace,
    name: `app-${app}-${at}`,
    uid: `pod-${at}`,
    labels: { app: `app-${app}`, 'pod-template-hash': `hash-${app}` },
    annotations: {},
    serviceAccount: serviceAccount.name,
    nodeName: `node-${at % 20}`,
    // Loopback is all of 127.0.0.0/8: each sidecar connects from its pod's own address.
    ips: [`127.96.${Math.floor(at / 250)}.${1 + (at % 250)}`],
    phase: 'Running',
    terminating: false,
  };
  return { pod, serviceAccount };
}

function podManifest({ namespace, name, uid, labels, serviceAccount, nodeName, ips, phase }: Pod): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, uid, labels },
    spec: { serviceAccountName: serviceAccount, nodeName, containers: [{ name: 'app', image: 'app' }] },
    status: { phase, podIP: ips[0] },
  };
}

function appPolicy(namespace: string, app: string): object {
  return {
    apiVersion,
    kind: 'AuthorizationPolicy',
    metadata: { namespace, name: app },
    spec: {
      selector: { matchLabels: { app } },
      action: 'ALLOW',
      rules: [
        {
          from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/web`] } }],
          to: [{ operation: { methods: ['GET', 'POST'], paths: [`/${app}`, `/${app}/*`] } }],
        },
        {
          from: [{ source: { namespaces: ['observability'] } }],
          to: [{ operation: { methods: ['GET'], paths: ['/metrics'] } }],
        },
      ],
    },
  };
}

/** An ALLOW policy joins each app's own: a change makes a filter of its own for each of the fifty. */
function meshPolicy(change: number): object {
  return {
    apiVersion,
    kind: 'AuthorizationPolicy',
    metadata: { namespace: rootNamespace, name: 'bench' },
    spec: {
      action: 'ALLOW',
      rules: [
        {
          from: [{ source: { namespaces: ['operations'] } }],
          to: [{ operation: { methods: ['GET'], paths: [marker(change)] } }],
        },
      ],
    },
  };
}

function write(path: string, documents: readonly object[]): void {
  writeFileSync(path, documents.map((document) => stringify(document)).join('---\n'));
}
