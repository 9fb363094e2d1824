import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { FederatedDomainState } from '../../src/operator/index.ts';
import { freePort } from '../harness/ports.ts';
import { TestMesh, type TestMeshOptions } from './mesh.ts';

/** A mesh with a bundle endpoint that proves itself by an SVID. */
export interface FederatedMesh {
  readonly mesh: TestMesh;
  readonly trustDomain: string;
  readonly url: string;
}

/** What `federation` of a mesh's configuration says of a trust domain. */
export interface Relation {
  readonly trustDomain: string;
  readonly bundleEndpointURL: string;
  readonly bundleEndpointProfile: Readonly<Record<string, string>>;
  readonly trustDomainBundle?: string;
}

/** Federates with nobody yet. */
export async function startFederated(trustDomain: string, options: TestMeshOptions): Promise<FederatedMesh> {
  const address = `127.0.0.1:${await freePort()}`;
  const mesh = await TestMesh.start({
    ...options,
    trustDomain,
    meshConfig: configOf([]),
    flags: ['--bundle-endpoint', address, '--bundle-refresh-hint', '1s', ...(options.flags ?? [])],
  });
  return { mesh, trustDomain, url: `https://${address}/` };
}

export function configOf(federation: readonly Relation[]): string {
  return stringify({ defaultAction: 'deny', federation });
}

/** As the operators of both would write it down, with the bundle that one gave the other. */
export function relationWith({ mesh, trustDomain, url }: FederatedMesh): Relation {
  return {
    trustDomain,
    bundleEndpointURL: url,
    bundleEndpointProfile: {
      type: 'https_spiffe',
      endpointSPIFFEID: `spiffe://${trustDomain}/ns/countersign-system/sa/control-plane`,
    },
    trustDomainBundle: readFileSync(join(mesh.controlPlane.dataDir, 'bundle.json'), 'utf8'),
  };
}

export async function federationOf({ mesh }: FederatedMesh): Promise<readonly FederatedDomainState[]> {
  const answer = await mesh.controlPlane.ask('federation list', '-o', 'json');
  return (JSON.parse(answer) as { domains: readonly FederatedDomainState[] }).domains;
}
