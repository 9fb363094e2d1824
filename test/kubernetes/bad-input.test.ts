import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, type KubeObject } from '../cluster/api-client.ts';
import { ALLOW, EnvoyClient, EXTENSION, SECRET } from '../control-plane/envoy-client.ts';
import { crdFiles } from '../deploy/chart.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { bareCrd, pluralOf } from './crds.ts';
import { audience, KubernetesWorld, policy } from './world.ts';

const group = 'security.countersign.dev';
const DENY = 'countersign.authz.http.deny';
/** Deeper than any document that somebody means. */
const nested = (depth: number): unknown => {
  let value: unknown = 'x';
  for (let level = 0; level < depth; level += 1) value = { and: [value] };
  return value;
};
const from = (...sources: readonly unknown[]): object => ({ rules: [{ from: sources }] });

/** What no schema would take: by kind, what is wrong with each, and its spec. */
const rubbish: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  AuthorizationPolicy: {
    text: 'ALLOW',
    list: [{ action: 'ALLOW' }],
    number: 7,
    'action-number': { action: 1, rules: [{}] },
    'action-unknown': { action: 'PERMIT', rules: [{}] },
    'deny-unreadable': { action: 'DENY', rules: 'all' },
    'rules-object': { rules: { from: [] } },
    'rules-null': { rules: [null] },
    'rules-lists': { rules: [[], [[]]] },
    'rules-many': { rules: Array.from({ length: 600 }, () => ({})) },
    'from-text': { rules: [{ from: 'everybody' }] },
    'source-null': from(null),
    'source-empty': from({ source: {} }),
    'principals-text': from({ source: { principals: '*' } }),
    'principals-mixed': from({ source: { principals: ['*', 1, null, {}] } }),
    'ip-nonsense': from({ source: { ipBlocks: ['999.1.1.1/77'] } }),
    'field-unknown': from({ source: { principal: ['*'] } }),
    'port-words': { rules: [{ to: [{ operation: { ports: ['http', '99999', '-1'] } }] }] },
    'when-unknown': { rules: [{ when: [{ key: 'request.weather', values: ['rain'] }] }] },
    'when-prototype': { rules: [{ when: [{ key: '__proto__', values: ['x'] }] }] },
    'selector-text': { selector: 'app=cart', rules: [{}] },
    'selector-numbers': { selector: { matchLabels: { app: 7 } }, rules: [{}] },
    'selector-unknown': { selector: { matchExpressions: [] }, rules: [{}] },
    deep: { rules: [nested(500)] },
    'keys-odd': JSON.parse('{"__proto__": {"action": "ALLOW"}, "constructor": 1, "rules": [{}]}'),
    'long-value': from({ source: { principals: ['x'.repeat(100_000)] } }),
  },
  PeerAuthentication: {
    text: 'STRICT',
    'mode-unknown': { mtls: { mode: 'OFF' } },
    'mode-list': { mtls: ['STRICT'] },
    'ports-text': {
      selector: { matchLabels: { app: 'cart' } },
      portLevelMtls: { http: { mode: 'DISABLE' } },
    },
    'selector-list': { selector: [], mtls: { mode: 'DISABLE' } },
  },
  RequestAuthentication: {
    list: [],
    'rules-text': { jwtRules: 'any' },
    'issuer-missing': { jwtRules: [{ jwks: '{"keys":[]}' }] },
    'jwks-nonsense': { jwtRules: [{ issuer: 'i', jwks: 'not json' }] },
    'uri-nonsense': { jwtRules: [{ issuer: 'i', jwksUri: 'file:///etc/passwd' }] },
  },
};
const all = Object.entries(rubbish).flatMap(([kind, specs]) =>
  Object.entries(specs).map(([name, spec]) => ({ kind, name, spec })),
);

let world: KubernetesWorld;
let controlPlane: TestControlPlane;
let cart: EnvoyClient;

/** Stored while the CRDs have no rules at all; these come afterwards, and then the control plane. */
beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { make, operator, folder, token } = bound(world);
  await make.node('node-1');
  await make.namespace('shop');
  await make.serviceAccount('shop', 'cart');
  await make.pod({ ...pod, node: 'node-1', ips: ['127.0.0.1'], labels: { app: 'cart' } });
  for (const kind of ['PeerAuthentication', 'RequestAuthentication']) await world.installCrd(group, kind);
  for (const { kind, name, spec } of all) {
    await operator.create(at(`${group}/v1/${pluralOf(kind)}`, 'shop'), {
      apiVersion: `${group}/v1`,
      kind,
      metadata: { name },
      spec,
    });
  }
  for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
  await world.apply(policy('good', allowWeb));
  controlPlane = await TestControlPlane.start({
    kubeconfig: world.kubeconfig,
    dataDir: join(folder, 'data'),
  });
  cart = await EnvoyClient.connected(controlPlane, await token());
  cart.subscribe(EXTENSION, DENY);
}, 180_000);
afterAll(async () => {
  cart?.close();
  await controlPlane?.stop();
  await world?.dispose();
});

const pod = { namespace: 'shop', name: 'cart', serviceAccount: 'cart' };
const allowWeb = {
  selector: { matchLabels: { app: 'cart' } },
  rules: [{ from: [{ source: { serviceAccounts: ['web'] } }] }],
};

function bound({ cluster }: KubernetesWorld): Pick<typeof cluster, 'make' | 'operator' | 'folder'> & {
  readonly token: () => Promise<string>;
} {
  const { make, operator, folder } = cluster;
  return {
    make,
    operator,
    folder,
    token: async () => cluster.token({ ...pod, pod: 'cart', audiences: [audience] }),
  };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

async function conditionOf(kind: string, name: string, type: string): Promise<Condition | undefined> {
  const object: KubeObject = await world.cluster.operator.get(
    at(`${group}/v1/${pluralOf(kind)}`, 'shop', name),
  );
  const { conditions = [] } = (object['status'] ?? {}) as { conditions?: readonly Condition[] };
  return conditions.find((each) => each.type === type);
}

/** Its status cannot be written while it is what it is, and the log says so. */
function refusedStatus(kind: string, name: string): boolean {
  return controlPlane.log.includes(`the status of ${pluralOf(kind)}.${group} shop/${name} cannot be kept`);
}

/** What an Envoy is given under a name. */
function given(name: string): string {
  return Buffer.from(cart.resources.get(name)?.body ?? []).toString('latin1');
}

async function programmed(name: string): Promise<void> {
  await waitFor(
    `${name} to be Programmed`,
    async () =>
      (await conditionOf('AuthorizationPolicy', name, 'Programmed'))?.status === 'True' ? true : undefined,
    { timeoutMs: 60_000 },
  );
}

describe('policies that no schema would take, stored before the CRDs had rules', () => {
  it('harm no other one: what is good is enforced and says so', async () => {
    await programmed('good');
    await cart.until(() => given(ALLOW).includes('policy[good]'));
  }, 90_000);

  it('are refused each alone, with a status that says why; or a log, where the API server takes none of it', async () => {
    const unsaid = new Map(all.map((each) => [`${each.kind} ${each.name}`, each]));
    try {
      await waitFor(
        'every status',
        async () => {
          for (const [key, { kind, name }] of unsaid) {
            const accepted = await conditionOf(kind, name, 'Accepted');
            if (accepted === undefined && !refusedStatus(kind, name)) continue;
            if (accepted !== undefined) {
              expect(accepted).toMatchObject({ status: 'False', reason: 'Invalid' });
              expect(accepted.message).toMatch(/^nothing of it is in force; .{10,}/u);
              // eslint-disable-next-line no-control-regex -- What a terminal would act on.
              expect(accepted.message).not.toMatch(/[\u0000-\u001f\u007f]/u);
            }
            unsaid.delete(key);
          }
          return unsaid.size === 0 ? true : undefined;
        },
        { timeoutMs: 60_000, everyMs: 1_000 },
      );
    } catch (error) {
      throw new Error(`${[...unsaid.keys()].join(', ')}: ${controlPlane.log.slice(-3_000)}`, {
        cause: error,
      });
    }
    const rejected = controlPlane.audit().filter(({ event }) => event === 'policy.rejected');
    const told = new Set(rejected.map(({ where }) => where));
    for (const { kind, name } of all) expect(told).toContain(`${pluralOf(kind)}.${group} shop/${name}`);
  }, 90_000);

  it('open nothing: nothing of them is in what an Envoy is given', async () => {
    for (const name of [ALLOW, DENY])
      for (const each of all) expect(given(name)).not.toContain(`policy[${each.name}]`);
    const [filters, peers] = [given(ALLOW), given(DENY)];
    for (const { kind, name } of all)
      await world.cluster.operator.delete(at(`${group}/v1/${pluralOf(kind)}`, 'shop', name));
    await world.apply(policy('later', allowWeb));
    await cart.until(() => given(ALLOW).includes('policy[later]'));
    await world.cluster.operator.delete(at(`${group}/v1/authorizationpolicies`, 'shop', 'later'));
    await cart.until(() => !given(ALLOW).includes('policy[later]'));
    expect([given(ALLOW), given(DENY)]).toEqual([filters, peers]);
  }, 60_000);

  it('are counted as problems until they go', async () => {
    await waitFor('no problems', async () =>
      /^countersign_source_problems 0$/mu.test(await controlPlane.metrics()) ? true : undefined,
    );
  });
});

describe('objects near the limit of what etcd keeps', () => {
  it('a policy of 1.3 MiB is refused with its bound, and nobody else waits for it', async () => {
    await world.kubectl(['apply', '-f', '-'], bareCrd(group, 'AuthorizationPolicy'));
    const principals = Array.from({ length: 13_000 }, (_, index) => `${index}`.padStart(96, 'x'));
    const { operator } = world.cluster;
    const path = at(`${group}/v1/authorizationpolicies`, 'shop');
    const huge = { ...policy('huge', from({ source: { principals } })) };
    await waitFor('the laxer CRD', async () => await operator.create(path, huge));
    await world.apply(policy('beside', allowWeb));
    await cart.until(() => given(ALLOW).includes('policy[beside]'));
    await programmed('beside');
    const accepted = await waitFor(
      'its status',
      async () => await conditionOf('AuthorizationPolicy', 'huge', 'Accepted'),
    );
    expect(accepted).toMatchObject({ status: 'False', reason: 'Invalid' });
    expect(accepted.message).toMatch(/at most 262144 bytes of values.*split the policy/u);
    expect(accepted.message.length).toBeLessThanOrEqual(1_024);
    await operator.delete(at(`${group}/v1/authorizationpolicies`, 'shop', 'huge'));
  }, 90_000);

  it('a pod with 256 KiB of annotations and 4,000 labels gets its identity, and is not held whole', async () => {
    const { cluster } = world;
    const labels = Object.fromEntries(
      Array.from({ length: 4_000 }, (_, index) => [`label-${index}`, `value-${index}`.padEnd(63, 'x')]),
    );
    const annotations = { 'example.com/a': 'x'.repeat(255 * 1024) };
    const big = { namespace: 'shop', name: 'big', serviceAccount: 'cart' };
    await cluster.make.pod({
      ...big,
      node: 'node-1',
      ips: ['127.0.0.2'],
      labels: { ...labels, app: 'cart' },
      annotations,
    });
    const bearer = await cluster.token({ ...big, pod: 'big', audiences: [audience] });
    const envoy = await waitFor('it to be admitted', async () => {
      const connecting = new EnvoyClient(controlPlane, bearer);
      connecting.subscribe(SECRET, 'default');
      connecting.subscribe(EXTENSION, ALLOW);
      try {
        await connecting.until(() => connecting.resources.size === 2);
        return connecting;
      } catch (error) {
        connecting.close();
        throw error;
      }
    });
    expect(Buffer.from(envoy.resources.get(ALLOW)?.body ?? []).toString('latin1')).toContain('policy[good]');
    envoy.close();
    // The file of what is known holds what the mesh holds.
    const file = join(controlPlane.dataDir, 'mesh.json');
    await waitFor('what is known to be written', async () => {
      const text = await readFile(file, 'utf8');
      return text.includes('label-3999') && !text.includes('x'.repeat(1_000)) ? true : undefined;
    });
  }, 60_000);
});
