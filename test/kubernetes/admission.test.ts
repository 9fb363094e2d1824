import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { at } from '../cluster/api-client.ts';
import { crdFiles } from '../deploy/chart.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { installWebhook, webhookTrusted } from './webhook.ts';
import { KubernetesWorld, policy } from './world.ts';

const home = 'countersign-system';
const good = { rules: [{ from: [{ source: { serviceAccounts: ['web'] } }] }] };
/** A CRD keeps fields that it does not know: were they dropped, this would allow everybody. */
const bad = { rules: [{ form: [{ source: { serviceAccounts: ['web'] } }] }] };
const trap = {
  selector: { matchLabels: { app: 'nothing' } },
  rules: [{ from: [{ source: { ipBlocks: ['10.0.0.0/8'] } }] }],
};
const configuration = `countersign-${home}`;
const configurations = 'admissionregistration.k8s.io/v1/validatingwebhookconfigurations';

interface Hook {
  readonly clientConfig: { readonly caBundle?: string };
}

let world: KubernetesWorld;
let controlPlane: TestControlPlane;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { cluster, kubeconfig } = world;
  await cluster.make.namespace('shop');
  await cluster.make.serviceAccount('shop', 'web');
  await cluster.make.node('node-1');
  await cluster.make.pod({
    namespace: 'shop',
    name: 'web',
    serviceAccount: 'web',
    node: 'node-1',
    labels: { app: 'web' },
  });
  for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
  const flags = await installWebhook(world);
  controlPlane = await TestControlPlane.start({
    kubeconfig,
    dataDir: join(cluster.folder, 'data'),
    flags: [...flags, '--log-level', 'debug'],
  });
  await webhookTrusted(world);
}, 180_000);
afterAll(async () => {
  await controlPlane?.stop();
  await world?.dispose();
});

async function tryToApply(
  document: object,
  ...flags: readonly string[]
): ReturnType<KubernetesWorld['cluster']['kubectl']> {
  return await world.cluster.kubectl(['apply', ...flags, '-f', '-'], stringify(document));
}

async function caBundle(): Promise<string> {
  const found = await world.cluster.operator.get(at(configurations, undefined, configuration));
  const [hook] = found['webhooks'] as readonly [Hook];
  return Buffer.from(hook.clientConfig.caBundle ?? '', 'base64').toString();
}

async function stored(name: string): Promise<boolean> {
  const all = await world.cluster.operator.list(
    at('security.countersign.dev/v1/authorizationpolicies', 'shop'),
  );
  return all.some(({ metadata }) => metadata.name === name);
}

describe('kubectl, beside the webhook', () => {
  it('applies a good policy without a word', async () => {
    expect(await tryToApply(policy('good', good))).toMatchObject({ code: 0, stderr: '' });
  });

  it('is refused a bad one, in the words of the validator, and nothing is stored', async () => {
    const { code, stderr } = await tryToApply(policy('bad', bad));
    expect(code).toBe(1);
    expect(stderr).toMatch(/denied the request: spec\.rules\[0\]\.form: /u);
    expect(await stored('bad')).toBe(false);
    const event = await waitFor('the refusal in the audit log', () =>
      controlPlane.audit().find((found) => found['event'] === 'policy.refused'),
    );
    expect(event).toMatchObject({
      actor: 'operator',
      where: 'AuthorizationPolicy.security.countersign.dev shop/bad',
      detail: expect.stringContaining('spec.rules[0].form') as string,
      leftOut: 0,
    });
  });

  it('prints what is legal and hardly meant, of the document and of what is around it', async () => {
    const { code, stderr } = await tryToApply(policy('trap', trap));
    expect(code).toBe(0);
    expect(stderr).toMatch(/^Warning: spec\.rules\[0\]\.from\[0\]: an IP address is the only factor/mu);
    expect(stderr).toMatch(/^Warning: spec\.selector: selects no pod/mu);
    const nobody = { rules: [{ from: [{ source: { serviceAccounts: ['nobody'] } }] }] };
    expect((await tryToApply(policy('nobody', nobody))).stderr).toMatch(
      /^Warning: .*service account shop\/nobody does not exist: nobody can match/mu,
    );
  });

  it('is told the same with --dry-run=server, and nothing is stored', async () => {
    expect((await tryToApply(policy('rehearsed', bad), '--dry-run=server')).code).toBe(1);
    const { code, stdout, stderr } = await tryToApply(policy('rehearsed', trap), '--dry-run=server');
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('server dry run') as string,
    });
    expect(stderr).toContain('Warning: ');
    expect(await stored('rehearsed')).toBe(false);
  });

  it('may let the API server make the name', async () => {
    const generated = { apiVersion: 'security.countersign.dev/v1', kind: 'AuthorizationPolicy' };
    const metadata = { generateName: 'made-', namespace: 'shop' };
    const created = await world.cluster.kubectl(
      ['create', '-f', '-'],
      stringify({ ...generated, metadata, spec: {} }),
    );
    expect(created).toMatchObject({ code: 0, stderr: '' });
  });

  it('is judged in the other kinds too', async () => {
    const peer = (mode: string): object => ({
      apiVersion: 'security.countersign.dev/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'peer', namespace: 'shop' },
      spec: { mtls: { mode } },
    });
    expect(await tryToApply(peer('STRICT'))).toMatchObject({ code: 0 });
    expect(await tryToApply(peer('SOMETIMES'))).toMatchObject({ code: 1 });
  });

  it('is warned of the traps of the other kinds too: what is around the document is looked at', async () => {
    const of = (kind: string, name: string, spec: object): object => ({
      apiVersion: 'security.countersign.dev/v1',
      kind,
      metadata: { name, namespace: 'shop' },
      spec,
    });
    const nowhere = { selector: { matchLabels: { app: 'nowhere' } } };
    const dry = async (document: object): Promise<string> => {
      const { code, stderr } = await tryToApply(document, '--dry-run=server');
      expect(code).toBe(0);
      return stderr;
    };
    const nothing = /^Warning: spec\.selector: selects no pod: it is enforced nowhere/mu;
    expect(await dry(of('RequestAuthentication', 'idle', nowhere))).toMatch(nothing);
    expect(await dry(of('PeerAuthentication', 'idle', nowhere))).toMatch(nothing);
    // The control plane has seen the one that is stored, or sees it soon.
    await waitFor('the older one to be known', async () =>
      /^Warning: metadata\.name: PeerAuthentication shop\/peer is meant for the same pods and is older/mu.test(
        await dry(of('PeerAuthentication', 'second', { mtls: { mode: 'PERMISSIVE' } })),
      )
        ? true
        : undefined,
    );
    // The version that it replaces is no other one.
    expect(await dry(of('PeerAuthentication', 'peer', { mtls: { mode: 'PERMISSIVE' } }))).not.toContain(
      'is older',
    );
    await world.cluster.make.pod({
      namespace: 'shop',
      name: 'cart',
      ips: ['10.1.0.9'],
      labels: { app: 'cart' },
    });
    const claims = {
      selector: { matchLabels: { app: 'cart' } },
      rules: [{ from: [{ source: { requestPrincipals: ['*'] } }] }],
    };
    await waitFor('the pod to be known', async () =>
      /^Warning: .*no RequestAuthentication selects the pods of this policy/mu.test(
        await dry(policy('claims', claims)),
      )
        ? true
        : undefined,
    );
  });

  it('may delete whatever there is', async () => {
    await world.kubectl(['delete', '-n', 'shop', 'ap', 'trap']);
    expect(await stored('trap')).toBe(false);
  });

  it('is counted by kind and outcome', async () => {
    const metrics = await controlPlane.metrics();
    expect(metrics).toMatch(
      /webhook_judgements_total\{kind="AuthorizationPolicy",outcome="refused"\} [1-9]/u,
    );
    expect(metrics).toMatch(/webhook_judgements_total\{kind="AuthorizationPolicy",outcome="warned"\} [1-9]/u);
    expect(controlPlane.log).toMatch(/"policy judged"/u);
  });
});

describe('the caBundle', () => {
  it('is put right where somebody edits it', async () => {
    const right = await caBundle();
    const path = at(configurations, undefined, configuration);
    const found = await world.cluster.operator.get(path);
    const other = { metadata: { name: 'other' }, webhooks: found['webhooks'] };
    const hooks = (found['webhooks'] as readonly Hook[]).map(({ clientConfig, ...hook }) => ({
      ...hook,
      clientConfig: { ...clientConfig, caBundle: undefined },
    }));
    await world.cluster.operator.create(at(configurations), other);
    await world.cluster.operator.merge(path, { webhooks: hooks });
    await waitFor('the caBundle', async () => ((await caBundle()) === right ? true : undefined));
    await world.cluster.operator.delete(at(configurations, undefined, 'other'));
  });

  it('follows the rotation of the root: both while both are trusted', async () => {
    const roots = async (): Promise<number> => (await caBundle()).split('BEGIN CERTIFICATE').length - 1;
    expect(await roots()).toBe(1);
    const served = async (): Promise<number | null> =>
      (await tryToApply(policy('good', good), '--dry-run=server')).code;
    await controlPlane.ask('rotate prepare');
    await waitFor('both roots', async () => ((await roots()) === 2 ? true : undefined));
    await controlPlane.ask('rotate activate');
    expect(await served()).toBe(0);
    await controlPlane.ask('rotate retire', '--force');
    await waitFor('one root', async () => ((await roots()) === 1 ? true : undefined));
    await waitFor('the webhook to be trusted', async () => ((await served()) === 0 ? true : undefined));
  });

  it('is not written while nothing changes', async () => {
    const writes = (): number =>
      world.cluster.audit.requests(
        ({ resource, verb, user }) =>
          resource === 'validatingwebhookconfigurations' &&
          verb === 'patch' &&
          user.endsWith(':control-plane'),
      ).length;
    const before = writes();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(writes()).toBe(before);
  });
});

describe('a control plane that is away', () => {
  it('lets no policy in, and lets its own namespace be mended', async () => {
    await controlPlane.stop();
    const { code, stderr } = await tryToApply(policy('later', good));
    expect(code).toBe(1);
    expect(stderr).toContain('failed calling webhook');
    expect(await tryToApply(policy('mended', good, { namespace: home }))).toMatchObject({ code: 0 });
  });
});
