import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RotateRootResponse } from '../../src/operator/index.ts';
import { at } from '../cluster/api-client.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { operatorCa, type OperatorCa } from '../harness/operator-ca.ts';
import { waitFor } from '../harness/wait.ts';
import { KubernetesWorld } from './world.ts';

const home = 'countersign-system';
const name = 'cacerts';

let world: KubernetesWorld;
let replicas: TestControlPlane[] = [];
let one: OperatorCa;
let two: OperatorCa;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const rbac = 'rbac.authorization.k8s.io/v1';
  const { operator } = world.cluster;
  // As the chart does with ca.secretName.
  await operator.create(at(`${rbac}/roles`, home), {
    metadata: { name },
    rules: [
      { apiGroups: [''], resources: ['secrets'], resourceNames: [name], verbs: ['get', 'list', 'watch'] },
    ],
  });
  await operator.create(at(`${rbac}/rolebindings`, home), {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    subjects: [{ kind: 'ServiceAccount', namespace: home, name: 'control-plane' }],
  });
  one = await operatorCa({ name: 'One' });
  two = await operatorCa({ name: 'Two' });
  const below = await operatorCa({ name: 'One Mesh CA', by: one, pathLength: 0 });
  await give(istioForm(below, one));
  replicas = await Promise.all(
    ['a', 'b'].map((replica) =>
      TestControlPlane.start({
        kubeconfig: world.kubeconfig,
        dataDir: join(world.cluster.folder, `data-${replica}`),
        flags: ['--ca-secret', name, '--svid-ttl', '1m'],
      }),
    ),
  );
}, 120_000);
afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()));
  await world.dispose();
});

function istioForm(signer: OperatorCa, root: OperatorCa): Readonly<Record<string, string>> {
  return {
    'ca-cert.pem': signer.pem,
    'ca-key.pem': signer.keyPem,
    'root-cert.pem': root.pem,
    'cert-chain.pem': signer.pem + root.pem,
  };
}

async function give(stringData: Readonly<Record<string, string>>): Promise<void> {
  await world.kubectl(['-n', home, 'delete', 'secret', name, '--ignore-not-found']);
  await world.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: home }, stringData });
}

async function readyz({ admin }: TestControlPlane): Promise<string> {
  return await (await fetch(`http://${admin}/readyz`)).text();
}

async function status(replica: TestControlPlane): Promise<RotateRootResponse> {
  return JSON.parse(await replica.ask('rotate status', '-o', 'json')) as RotateRootResponse;
}

async function untilAll(what: string, holds: (replica: TestControlPlane) => Promise<boolean>): Promise<void> {
  for (const replica of replicas) {
    await waitFor(what, async () => ((await holds(replica)) ? true : undefined), {
      timeoutMs: 150_000,
      everyMs: 200,
    });
  }
}

async function fingerprint(ca: OperatorCa): Promise<string> {
  return Buffer.from(await ca.certificate.getThumbprint('SHA-256')).toString('hex');
}

describe("an operator's CA in a Secret", () => {
  it(
    'signs in every replica; one that is bad or gone leaves it, and one below another root takes its place',
    { timeout: 400_000 },
    async () => {
      for (const replica of replicas) {
        expect((await status(replica)).signing?.fingerprint).toBe(await fingerprint(one));
        expect(await readyz(replica)).toBe('ok\n');
      }
      const kept = await world.kubectl(['-n', home, 'get', 'secret', 'countersign-root', '-o', 'json']);
      const { data } = JSON.parse(kept) as { data: Record<string, string> };
      expect(Buffer.from(data['authority.json'] ?? '', 'base64').toString()).not.toContain('PRIVATE KEY');

      await world.kubectl(['-n', home, 'delete', 'secret', name]);
      await untilAll('the Secret to be missed', async (replica) =>
        (await readyz(replica)).includes('There is no Secret'),
      );
      await give({ 'tls.crt': two.pem, 'tls.key': one.keyPem, 'ca.crt': two.pem });
      await untilAll('the key to be refused', async (replica) =>
        (await readyz(replica)).includes('its key belongs to another certificate'),
      );
      await give({ 'tls.crt': two.pem, 'tls.key': two.keyPem, 'ca.crt': two.pem });
      for (const state of ['prepared', 'activated', 'steady']) {
        await untilAll(
          `the rotation to be ${state}`,
          async (replica) => (await status(replica)).state === state,
        );
      }
      for (const replica of replicas) {
        const { signing, other } = await status(replica);
        expect([signing?.fingerprint, other]).toEqual([await fingerprint(two), null]);
        expect(await readyz(replica)).toBe('ok\n');
        expect(await replica.metrics()).toMatch(/^countersign_signing_suspended 0$/mu);
      }
    },
  );

  it(
    'does not sign below another root before it has reached every replica',
    { timeout: 300_000 },
    async () => {
      const [cert, key] = ['cert', 'key'].map((part) => join(world.cluster.folder, `third-${part}.pem`));
      const giveThird = async (ca: OperatorCa): Promise<void> => {
        await writeFile(key!, ca.keyPem, { mode: 0o600 });
        await writeFile(cert!, ca.pem);
      };
      await giveThird(two);
      const third = await TestControlPlane.start({
        kubeconfig: world.kubeconfig,
        dataDir: join(world.cluster.folder, 'data-c'),
        flags: ['--ca-cert', cert!, '--ca-key', key!, '--svid-ttl', '1m'],
      });
      replicas.push(third);
      const three = await operatorCa({ name: 'Three' });
      await give({ 'tls.crt': three.pem, 'tls.key': three.keyPem, 'ca.crt': three.pem });
      let last = '';
      await waitFor(
        'the third to be waited for',
        async () => {
          const { stdout, stderr } = await replicas[0]!.tryToAsk('rotate activate', '--dry-run');
          last = stdout + stderr;
          return /replica \S+ cannot sign below the new root/u.test(last) ? true : undefined;
        },
        { timeoutMs: 45_000 },
      ).catch((cause: unknown) => {
        throw new Error(`it was: ${last}`, { cause });
      });
      expect((await replicas[0]!.tryToAsk('rotate activate')).stderr).toContain(
        'wait for them, or use --force',
      );
      await giveThird(three);
      await untilAll('all to sign', async (replica) => {
        const { state, signing } = await status(replica);
        return state === 'activated' && signing?.fingerprint === (await fingerprint(three));
      });
      for (const replica of replicas)
        expect(await replica.metrics()).toMatch(/^countersign_signing_suspended 0$/mu);
    },
  );
});
