import { X509Certificate } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Load } from '../harness/http.ts';
import { Http2Connection } from '../harness/http2.ts';
import { exchange } from '../harness/tcp.ts';
import { waitFor } from '../harness/wait.ts';
import { useHttp1 } from './bootstrap-edits.ts';
import { TestMesh } from './mesh.ts';
import { allowAll } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';

it('x', { timeout: 120_000 }, async () => {
  const calls = [
    { to: cart, protocol: 'http' },
    { to: cart, protocol: 'tcp' },
  ] as const;
  const mesh = await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http', 'tcp'] },
      { pod: web, calls },
    ],
    policies: { cart: allowAll('shop/cart', 'cart') },
  });
  try {
    const h2 = new Http2Connection(mesh.wayOut(web));
    expect(await h2.status('/')).toBe(200);
    console.log(await mesh.envoy(cart).admin('/config_dump?resource=dynamic_active_secrets') .then((t) => t.length));
    for (const args of [
      ['--id', mesh.id(web)],
      ['--pod', web],
      ['--node', 'node-1'],
      ['--issued-before', 'now'],
    ]) {
      console.log(args, await mesh.controlPlane.tryToAsk('quarantine add', ...args, '--reason', 'stolen'));
      console.log(await h2.status('/'), await exchange({ ...mesh.wayOut(web, 1), text: 'hello' }));
      console.log(await mesh.controlPlane.ask('quarantine list'));
      const { entries } = JSON.parse(await mesh.controlPlane.ask('quarantine list', '-o', 'json'));
      console.log(await mesh.controlPlane.tryToAsk('quarantine remove', entries[0].name));
      console.log(await h2.status('/'), await exchange({ ...mesh.wayOut(web, 1), text: 'hello' }));
    }
    console.log(mesh.controlPlane.log.split('\n').slice(-40).join('\n'));
    console.log(await mesh.envoy(cart).admin('/config_dump').then((t) => t.slice(0, 10)));
  } finally {
    await mesh.stop();
  }
});
