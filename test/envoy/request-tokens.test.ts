import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { Http2Connection } from '../harness/http2.ts';
import { TestIssuer } from '../harness/issuer.ts';
import { waitFor } from '../harness/wait.ts';
import { TestMesh } from './mesh.ts';
import { allowAll, documents, policyYaml } from './policies.ts';

const orders = 'shop/orders';
const other = 'shop/other';
const web = 'shop/web';

describe.each(['sotw', 'delta'] as const)('RequestAuthentication, %s xDS', (xds) => {
  let mesh: TestMesh;
  let issuer: TestIssuer;

  function authentication(uri: string): string {
    return stringify({
      apiVersion: 'security.istio.io/v1',
      kind: 'RequestAuthentication',
      metadata: { namespace: 'shop', name: 'people' },
      spec: {
        selector: { matchLabels: { app: 'orders' } },
        jwtRules: [{ issuer: issuer.name, jwksUri: uri }],
      },
    });
  }

  beforeAll(async () => {
    issuer = await TestIssuer.start('https://login.example');
    mesh = await TestMesh.start({
      xds,
      flags: ['--jwks-refresh', '300ms'],
      pods: [
        { pod: orders, serves: ['http'] },
        { pod: other, serves: ['http'] },
        { pod: web, calls: [orders, other].map((to) => ({ to, protocol: 'http' })) },
      ],
      policies: {
        tokens: authentication(issuer.jwksUri),
        rules: documents(
          policyYaml('shop/orders', {
            selector: { matchLabels: { app: 'orders' } },
            rules: [
              { to: [{ operation: { paths: ['/open'] } }] },
              {
                from: [{ source: { requestPrincipals: [`${issuer.name}/*`] } }],
                to: [{ operation: { paths: ['/mine'] } }],
              },
              { when: [{ key: 'request.auth.claims[realm_access][roles]', values: ['buyer'] }] },
            ],
          }),
          allowAll('shop/other', 'other'),
        ),
      },
    });
  });
  afterAll(async () => {
    await mesh.stop();
    issuer.goAway();
  });

  const ask = async (path: string, token?: string, way = 0): Promise<number> => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return (await mesh.call(web, { path, headers, way })).status;
  };
  const answers = async (status: number, path: string, token?: string): Promise<void> => {
    await waitFor(`${status} for ${path}`, async () =>
      (await ask(path, token)) === status ? true : undefined,
    );
  };

  it('no token is no fault; what a rule asks of one needs a good one; a bad one is refused', async () => {
    const token = await issuer.token();
    await answers(200, '/mine', token);
    expect(await ask('/open')).toBe(200);
    expect(await ask('/mine')).toBe(403);
    expect(await ask('/roles', token)).toBe(403);
    expect(await ask('/roles', await issuer.token({ realm_access: { roles: ['x', 'buyer'] } }))).toBe(200);
    expect(await ask('/open', `${token.slice(0, -20)}${'A'.repeat(20)}`)).toBe(401);
    expect(await ask('/open', token.replace(/\..*\./u, `.${Buffer.from('{}').toString('base64url')}.`))).toBe(
      401,
    );
    expect(await ask('/open', 'no token at all', 1)).toBe(200);
  });

  it('keys that change at the issuer reach those that use them, on open connections', async () => {
    const before = await issuer.token();
    await answers(200, '/mine', before);
    const connection = new Http2Connection(mesh.wayOut(web));
    expect(await connection.status('/open')).toBe(200);
    const pushes = async (): Promise<string | undefined> =>
      (await mesh.connected())
        .filter(({ pod }) => pod === other)
        .flatMap(({ resources }) => resources)
        .find(({ name }) => name === 'countersign.authn.http.jwt')?.version;
    const unconcerned = await pushes();
    await issuer.rotate();
    await answers(200, '/mine', await issuer.token());
    await answers(401, '/mine', before);
    expect(connection.closed).toBe(false);
    connection.close();
    expect(await pushes()).toBe(unconcerned);
    const changes = mesh.controlPlane.audit().filter(({ event }) => event === 'jwks.changed');
    expect(changes).toMatchObject([{ uri: issuer.jwksUri }, { uri: issuer.jwksUri }]);
  });

  it('with the issuer away the last good keys stay in force, over a restart too, and it is said', async () => {
    const token = await issuer.token();
    await answers(200, '/mine', token);
    issuer.goAway();
    await waitFor('the failure in the audit log', () =>
      mesh.controlPlane
        .audit()
        .find(({ event, lastGood }) => event === 'jwks.failed' && lastGood !== 'never'),
    );
    expect(await ask('/mine', token)).toBe(200);
    const metrics = await mesh.controlPlane.metrics();
    expect(metrics).toMatch(/^countersign_jwks_failures_total\{uri="[^"]+"\} [1-9]/mu);
    expect(metrics).toMatch(/^countersign_jwks_last_good_seconds\{uri="[^"]+"\} [1-9]/mu);
    await mesh.controlPlane.restart();
    await waitFor(
      'the sidecar to be back',
      async () =>
        (await mesh.connected()).some(
          ({ pod, resources }) =>
            pod === orders &&
            resources.some(({ name, acknowledged }) => name === 'countersign.authn.http.jwt' && acknowledged),
        )
          ? true
          : undefined,
      { timeoutMs: 60_000 },
    );
    expect(await ask('/mine', token)).toBe(200);
    expect(await ask('/mine')).toBe(403);
    await issuer.serve();
  }, 90_000);

  it('a document that goes takes its filter with it', async () => {
    await answers(200, '/mine', await issuer.token());
    mesh.deletePolicy('tokens');
    await answers(403, '/mine', await issuer.token());
    expect(await ask('/open', 'no token at all')).toBe(200);
    const event = mesh.controlPlane.audit().findLast(({ event: name }) => name === 'policy.changed');
    expect(event).toMatchObject({ kind: 'RequestAuthentication', policy: 'shop/people', change: 'removed' });
  });
});
