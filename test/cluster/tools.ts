import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../harness/paths.ts';

let folder: string | undefined;

/** The path of `etcd`, `kube-apiserver`, `kubectl` or `helm`; where there is none yet, all are built: minutes, once. */
export function clusterTool(name: 'etcd' | 'kube-apiserver' | 'kubectl' | 'helm'): string {
  folder ??= execFileSync(`${root}test/setup/build-cluster.sh`, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim();
  return join(folder, name);
}
