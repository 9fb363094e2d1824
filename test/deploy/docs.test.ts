import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import { root } from '../harness/paths.ts';
import { commandsOf, examplePod, page } from './page.ts';
import { startReplicas, type Replica } from './release.ts';

const commands = commandsOf();

/** What needs a kubelet: there is none here. */
const needsPods = /rollout status|exec deploy/u;

/** Commands that are meant to fail, and what they say. */
const refused: readonly (readonly [RegExp, number, string])[] = [
  [/authz check/u, 1, 'DENY'],
  [/action":"DENY/u, 1, 'a DENY policy without rules denies nothing'],
  [/form/u, 1, 'denied the request: spec.rules[0].form'],
];

describe('docs/kubernetes.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-docs-'));
  let cluster: TestCluster;
  let replicas: readonly Replica[] = [];
  beforeAll(async () => {
    cluster = await TestCluster.start();
  }, 600_000);

  afterAll(async () => {
    for (const { child } of replicas) await child.stop();
    rmSync(folder, { recursive: true, force: true });
    await cluster.dispose();
  });

  it('gives commands that do what it says', { timeout: 120_000 }, async () => {
    expect(commands.length).toBeGreaterThan(8);
    for (const command of commands.filter((line) => !needsPods.test(line))) {
      const [, code, said] = refused.find(([which]) => which.test(command)) ?? [undefined, 0, ''];
      const ran = await cluster.shell(command, root);
      expect({ command, ...ran }).toMatchObject({ command, code });
      expect(ran.stdout + ran.stderr).toContain(said);
      if (command.startsWith('helm install')) replicas = await startReplicas(cluster, folder);
    }
    const applied = at('security.countersign.dev/v1/authorizationpolicies', 'shop', 'cart-from-web');
    expect((await cluster.operator.get(applied))['spec']).toMatchObject({ action: 'ALLOW' });
  });

  it('names files that exist, flags of kubectl and fields of the chart that are there', () => {
    for (const [, path] of page.matchAll(/\]\(\.\.\/([^)#]+)\)/gu)) {
      expect(() => readFileSync(`${root}${path}`), path).not.toThrow();
    }
    const values = readFileSync(`${root}deploy/charts/countersign/values.yaml`, 'utf8');
    for (const [, name = ''] of page.matchAll(/`([a-z]+[A-Za-z]*)\.[a-zA-Z]+`/gu)) {
      if (/^(spec|values)$/u.test(name)) continue;
      expect(values, name).toMatch(new RegExp(`^${name}:`, 'mu'));
    }
  });
});

describe('deploy/examples/shop.yaml', () => {
  it('runs the Envoy that everything here is tested with', () => {
    const installer = readFileSync(`${root}test/setup/install-envoy.sh`, 'utf8');
    const version = /^version=(.+)$/mu.exec(installer)?.[1];
    const yaml = readFileSync(`${root}deploy/examples/shop.yaml`, 'utf8');
    const notes = readFileSync(`${root}deploy/charts/countersign/templates/NOTES.txt`, 'utf8');
    const images = [...`${yaml}${notes}`.matchAll(/image: (.*\/envoy:.*)$/gmu)].map(([, image]) => image);
    expect(images).toHaveLength(3);
    for (const image of images) expect(image).toBe(`docker.io/envoyproxy/envoy:distroless-v${version}`);
  });

  it.each(['web', 'cart'])('gives the Envoy of %s what its bootstrap names', (name) => {
    const pod = examplePod(name);
    const mounted = Object.fromEntries(
      pod.initContainers[0].volumeMounts.map((mount) => [
        mount.mountPath,
        pod.volumes.find((volume) => volume.name === mount.name),
      ]),
    );
    expect(mounted).toMatchObject({
      '/etc/envoy': { configMap: { name: `${name}-envoy` } },
      '/etc/countersign': { configMap: { name: 'countersign-trust-bundle' } },
      '/var/run/secrets/countersign': {
        projected: { sources: [{ serviceAccountToken: { audience: 'countersign', path: 'token' } }] },
      },
    });
    expect(pod).toMatchObject({ serviceAccountName: name, automountServiceAccountToken: false });
    const bootstraps = commands.filter((line) => line.includes(`--pod shop/${name} `));
    expect(bootstraps).toHaveLength(1);
    expect(bootstraps[0]).toContain(
      '--ca /etc/countersign/bundle.pem --token /var/run/secrets/countersign/token',
    );
  });
});
