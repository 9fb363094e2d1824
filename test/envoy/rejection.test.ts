import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../harness/wait.ts';
import { wrongFilterType } from './bootstrap-edits.ts';
import { TestMesh } from './mesh.ts';
import { allowAll, policyYaml } from './policies.ts';

const cart = 'shop/cart';
/** Its bootstrap names a filter of TCP among those of HTTP: what it then gets, its Envoy refuses. */
const odd = 'shop/odd';
const web = 'shop/web';
const filter = 'countersign.authz.tcp.allow';

describe.each(['sotw', 'delta'] as const)('an Envoy rejects what it is sent, %s xDS', (xds) => {
  let mesh: TestMesh;

  beforeAll(async () => {
    mesh = await TestMesh.start({
      xds,
      pods: [
        { pod: cart, serves: ['http'] },
        { pod: odd, serves: ['http'], edit: wrongFilterType, bare: true },
        {
          pod: web,
          calls: [
            { to: cart, protocol: 'http' },
            { to: odd, protocol: 'http' },
          ],
        },
      ],
      policies: { cart: allowAll('shop/cart', 'cart'), odd: allowAll('shop/odd', 'odd') },
    });
    await mesh.startSidecar(odd);
  });
  afterAll(async () => mesh.stop());

  it('the operator sees it, in countersign proxies, the metrics and the audit log', async () => {
    const rejected = await waitFor('the rejection in countersign proxies', async () =>
      (await mesh.connected())
        .filter(({ pod }) => pod === odd)
        .flatMap(({ resources }) => resources)
        .find(({ name, rejection }) => name === filter && rejection !== ''),
    );
    expect(rejected.acknowledged).toBe(false);
    expect(rejected.rejection).toContain('network.rbac');
    expect(await mesh.controlPlane.ask('proxies')).toMatch(/shop\/odd .*REJECTED: .*network\.rbac/u);
    expect(await mesh.controlPlane.metrics()).toMatch(/nacks\S*TypedExtensionConfig\S* [1-9]/u);
    const event = mesh.controlPlane
      .audit()
      .find(({ event: name, actor }) => name === 'push.rejected' && actor === odd);
    expect(event).toMatchObject({ type: 'TypedExtensionConfig' });
    expect(event?.['resources']).toContain(filter);
    expect(event?.['detail']).toContain('network.rbac');
  });

  it('at the next change the good filters are accepted, and the bad one alone stays rejected', async () => {
    const never = policyYaml('shop/odd-deny', {
      selector: { matchLabels: { app: 'odd' } },
      action: 'DENY',
      rules: [{ to: [{ operation: { paths: ['/never'] } }] }],
    });
    mesh.writePolicy('odd-deny', never);
    const isFilter = ({ name }: { name: string }): boolean => name.startsWith('countersign.authz.');
    await waitFor('the other filters to be accepted', async () => {
      const filters = (await mesh.connected())
        .filter(({ pod }) => pod === odd)
        .flatMap(({ resources }) => resources.filter(isFilter));
      const good = filters.filter(({ acknowledged, rejection }) => acknowledged && rejection === '');
      const bad = filters.filter(({ rejection }) => rejection !== '');
      return good.length === 4 && bad.length === 1 && bad[0]?.name === filter ? true : undefined;
    });
  });

  it('it lets nothing through; other Envoys get their changes as ever', { timeout: 60_000 }, async () => {
    await mesh.envoy(odd).listening();
    expect((await mesh.call(web, { way: 1 })).status).toBe(403);
    expect((await mesh.call(web)).status).toBe(200);
    mesh.writePolicy('deny', policyYaml('shop/deny', { action: 'DENY', rules: [{}] }));
    await waitFor('a later change', async () => ((await mesh.call(web)).status === 403 ? true : undefined));
    const accepted = (await mesh.connected())
      .filter(({ pod }) => pod === cart)
      .flatMap(({ resources }) => resources);
    expect(accepted.every(({ rejection }) => rejection === '')).toBe(true);
  });
});
