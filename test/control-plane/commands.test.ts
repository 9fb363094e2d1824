import { decodeJwt } from 'jose';
import { parse } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { countersign } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { admission, ALLOW, EnvoyClient, EXTENSION, svidOf } from './envoy-client.ts';
import { stackTrace, World } from './world.ts';

const world = new World('shop/web', 'shop/cart');
let controlPlane: TestControlPlane;
let web: EnvoyClient;

beforeAll(async () => {
  world.writePolicy('shop/web', 'open', '/');
  controlPlane = await world.start();
  web = await EnvoyClient.connected(controlPlane, await controlPlane.ask('token', '--pod', 'shop/web'));
});
afterAll(async () => {
  web.close();
  await world.close();
});

/** Exit code 2, nothing on stdout, one line on stderr. */
async function expectFailure(args: readonly string[], message: string): Promise<void> {
  const [command = '', ...rest] = args;
  const { code, stdout, stderr } = await run(countersign, [command, '--data-dir', world.dataDir, ...rest]);
  expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: `countersign: ${message}\n` });
}

const unknownPod = 'there is no pod shop/nobody; known pods: shop/cart, shop/web';

describe('token', () => {
  it('prints a token and nothing else, bound as asked', async () => {
    const token = await controlPlane.ask(
      'token',
      '--pod',
      'shop/cart',
      '--audience',
      'other',
      '--ttl',
      '90s',
    );
    expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/u);
    const claims = decodeJwt(token);
    expect(claims).toMatchObject({
      aud: ['other'],
      sub: 'system:serviceaccount:shop:cart',
      'kubernetes.io': { namespace: 'shop', node: { name: 'node-1' }, pod: { name: 'cart' } },
    });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(90);
  });

  it('lists the known pods where there is none of that name', async () => {
    await expectFailure(['token', '--pod', 'shop/nobody'], unknownPod);
  });

  it('says that the service account is missing', async () => {
    world.write(
      'lonely.yaml',
      'apiVersion: v1\nkind: Pod\nmetadata: { namespace: shop, name: lonely }\nspec: { serviceAccountName: absent, nodeName: n }\n',
    );
    await web.until(() => true);
    let stderr = '';
    do {
      ({ stderr } = await run(countersign, ['token', '--data-dir', world.dataDir, '--pod', 'shop/lonely']));
    } while (stderr.includes('there is no pod'));
    expect(stderr).toBe(
      'countersign: pod shop/lonely runs as service account absent, which does not exist: add its manifest\n',
    );
    world.remove('lonely.yaml');
  });
});

describe('proxies', () => {
  it('-o table: one line each, under heads', async () => {
    const [head, ...rows] = (await controlPlane.ask('proxies')).split('\n');
    expect(head).toMatch(/^POD +STREAM +SERIAL +RENEWAL +RESOURCES$/u);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatch(/^shop\/web +DeltaAggregatedResources +[0-9a-f]{16} +\S+Z +3\/3 acknowledged$/u);
  });

  it('-o json and -o yaml: the same data', async () => {
    const json: unknown = JSON.parse(await controlPlane.ask('proxies', '-o', 'json'));
    expect(parse(await controlPlane.ask('proxies', '-o', 'yaml'))).toEqual(json);
    expect(json).toMatchObject({
      proxies: [
        { pod: 'shop/web', node_id: 'test', serial: expect.stringMatching(/^[0-9a-f]{32}$/u) as string },
      ],
    });
    const names = (json as { proxies: [{ resources: { name: string }[] }] }).proxies[0].resources;
    expect(names.map(({ name }) => name).toSorted()).toEqual(['ROOTCA', ALLOW, 'default']);
  });

  it('shows a rejection, and the terminal obeys nothing that it quotes', async () => {
    const envoy = await EnvoyClient.connected(
      controlPlane,
      await controlPlane.ask('token', '--pod', 'shop/cart'),
    );
    envoy.rejectWith = 'no such \u001B[2J\u009Bmatcher\nshop/fake';
    const before = envoy.responses;
    world.writePolicy('shop/cart', 'closed', '/none');
    await envoy.until(() => envoy.responses > before);
    let table = '';
    do table = await controlPlane.ask('proxies');
    while (!table.includes('REJECTED'));
    expect(table).toContain(
      String.raw`2/3 acknowledged; REJECTED: no such \u001b[2J\u009bmatcher\u000ashop/fake`,
    );
    expect(table).not.toMatch(/\p{Cc}(?<!\n)/u);
    expect(table.split('\n')).toHaveLength(3);
    envoy.close();
  });
});

describe('renew', () => {
  it('prints the serials, and the Envoy gets the new one', async () => {
    const held = web.version('default');
    const old = svidOf(web);
    const line = await controlPlane.ask('renew', '--pod', 'shop/web');
    expect(line).toMatch(/^[0-9a-f]{32} -> [0-9a-f]{32}$/u);
    await web.until(() => web.version('default') !== held);
    expect(svidOf(web).key).not.toBe(old.key);
    expect(await controlPlane.ask('proxies', '-o', 'json')).toContain(line.split(' -> ')[1] ?? 'none');
    expect(controlPlane.audit()).toContainEqual(
      expect.objectContaining({ event: 'svid.issued', reason: 'ordered', serial: line.split(' -> ')[1] }),
    );
  });

  it('says why it cannot', async () => {
    await expectFailure(['renew', '--pod', 'shop/nobody'], unknownPod);
    world.writePod({ pod: 'shop/idle' });
    let stderr = '';
    do ({ stderr } = await run(countersign, ['renew', '--data-dir', world.dataDir, '--pod', 'shop/idle']));
    while (stderr.includes('there is no pod'));
    expect(stderr).toBe('countersign: pod shop/idle holds no SVID: no Envoy of it is connected\n');
  });
});

describe('bootstrap', () => {
  const args = [
    ...[
      'bootstrap',
      '--pod',
      'shop/web',
      '--control-plane',
      '127.0.0.1:15012',
      '--ca',
      '/ca.pem',
      '--token',
      '/token',
    ],
    ...['--inbound', '10.0.0.7:8080=127.0.0.1:8080'],
    ...['--outbound', '127.0.0.1:9001=10.0.0.8:8080=spiffe://cluster.local/ns/shop/sa/cart'],
  ];

  it('-o json (the default) and -o yaml: the same data, with no control plane needed', async () => {
    const { code, stdout, stderr } = await run(countersign, args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const json = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(json)).toEqual(expect.arrayContaining(['node', 'admin', 'static_resources']));
    expect(parse((await run(countersign, [...args, '-o', 'yaml'])).stdout)).toEqual(json);
    expect(JSON.parse((await run(countersign, [...args, '-o', 'json'])).stdout)).toEqual(json);
  });
});

describe('--log-format pretty', () => {
  it('is for people: a time, a level and a message a line, and nothing that a terminal would obey', async () => {
    const other = new World('shop/web');
    try {
      const pretty = await other.start('--log-format', 'pretty');
      const envoy = await EnvoyClient.connected(pretty, await pretty.ask('token', '--pod', 'shop/web'));
      envoy.subscribe(EXTENSION, '\u001B[31mred\nline');
      await envoy.until(() => envoy.errors.size > 0);
      envoy.rejectWith = '\u001B[2Jgone\n[00:00:00.000] INFO: forged';
      const before = envoy.responses;
      other.writePolicy('shop/web', 'open', '/');
      await envoy.until(() => envoy.responses > before);
      expect(await admission(pretty, 'garbage')).toMatch(/^UNAUTHENTICATED/u);
      envoy.close();
      await pretty.stop();
      expect(pretty.log).toMatch(/^\[[\d:. +-]+\] INFO: ready \{.*\}$/mu);
      expect(pretty.log).toMatch(/^\[[\d:. +-]+\] WARN: caller refused: .+$/mu);
      expect(pretty.log).toMatch(
        /ERROR: Envoy rejected a push: \\u001b\[2Jgone\\u000a\[00:00:00\.000\] INFO: forged \{/mu,
      );
      expect(pretty.log).not.toMatch(/^\{/mu);
      expect(pretty.log).not.toMatch(/\p{Cc}(?<!\n)/u);
      expect(pretty.log).not.toMatch(stackTrace);
    } finally {
      await other.close();
    }
  });
});
