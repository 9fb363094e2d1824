import { readFileSync } from 'node:fs';
import type { FleetTarget } from '../bench/fleet.ts';
import type { SidecarIdentity } from '../bench/sidecar.ts';
import type { TestCluster } from '../cluster/cluster.ts';
import { serverName } from '../control-plane/envoy-client.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { audience } from './world.ts';

export const fleetNamespace = 'fleet';
const node = 'fleet-node';
const accounts = 10;
/** Requests at one time: more make a small API server no faster. */
const atOnce = 16;

/** So many pods of ten service accounts, with tokens as their kubelets would ask for them, for sidecars that are played. */
export async function fleetPods(cluster: TestCluster, count: number): Promise<readonly SidecarIdentity[]> {
  const { make } = cluster;
  await make.node(node);
  await make.namespace(fleetNamespace);
  for (let at = 0; at < accounts; at += 1) await make.serviceAccount(fleetNamespace, accountOf(at));
  const identities: SidecarIdentity[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) identities[at] = await onePod(cluster, at);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return identities;
}

async function onePod(cluster: TestCluster, at: number): Promise<SidecarIdentity> {
  const name = `sidecar-${at}`;
  const serviceAccount = accountOf(at);
  // Loopback is all of 127.0.0.0/8: each connects from its pod's own address.
  const address = `127.98.${Math.floor(at / 250)}.${1 + (at % 250)}`;
  const pod = { namespace: fleetNamespace, name, serviceAccount };
  await cluster.make.pod({ ...pod, node, ips: [address], labels: { app: serviceAccount } });
  const token = await cluster.token({ ...pod, pod: name, audiences: [audience] });
  return { name: `${fleetNamespace}/${name}`, address, token };
}

function accountOf(at: number): string {
  return `app-${at % accounts}`;
}

/** A fleet on the first replica, which goes to the second when that is gone. */
export function fleetTarget(
  first: TestControlPlane,
  second: TestControlPlane,
): Omit<FleetTarget, 'sidecars'> {
  const portOf = ({ address }: TestControlPlane): number => Number(new URL(`https://${address}`).port);
  return {
    port: portOf(first),
    fallbackPort: portOf(second),
    serverName,
    authorities: readFileSync(first.bundle, 'utf8'),
  };
}
