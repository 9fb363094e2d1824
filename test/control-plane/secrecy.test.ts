import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { countersign } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { admission, EnvoyClient, SECRET, svidOf } from './envoy-client.ts';
import { altered, issuerKey, strangersKey, unsigned } from './forged-token.ts';
import { World } from './world.ts';

/** Each form in which a private key could be written down. */
function formsOf(pem: string): readonly string[] {
  const key = createPrivateKey(pem);
  const jwk = key.export({ format: 'jwk' });
  const body = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  const der = key.export({ format: 'der', type: 'pkcs8' });
  const scalar = Buffer.from(jwk.d ?? '', 'base64url');
  return [
    ...body.filter((line) => line.length >= 40),
    jwk.d ?? '',
    ...[der, scalar].flatMap((bytes) => [
      bytes.toString('base64'),
      bytes.toString('hex'),
      [...bytes].join(','),
    ]),
  ];
}

it(
  'no token and no private key is in any output of a busy control plane at debug level',
  { timeout: 60_000 },
  async () => {
    const world = new World('shop/web', 'shop/cart');
    try {
      const controlPlane = await world.start('--log-level', 'debug');
      const answers: string[] = [];
      const ask = async (...args: readonly string[]): Promise<string> => {
        const [command = '', ...rest] = args;
        const { stdout, stderr } = await run(countersign, [command, '--data-dir', world.dataDir, ...rest]);
        answers.push(stdout, stderr);
        return stdout;
      };
      const keys: string[] = [];
      const genuine = await controlPlane.ask('token', '--pod', 'shop/web');
      const cartsToken = await controlPlane.ask('token', '--pod', 'shop/cart', '--ttl', '2h');
      const issuer = issuerKey(world.dataDir);
      const tokens = [
        genuine,
        cartsToken,
        unsigned(genuine),
        await altered(genuine, strangersKey(), (claims) => claims),
        await altered(genuine, issuer, (claims) => ({ ...claims, exp: 1, iat: 0 })),
        await altered(genuine, issuer, (claims) => ({ ...claims, aud: 'elsewhere' })),
        await altered(genuine, issuer, (claims) => ({ ...claims, iss: 'https://elsewhere.example' })),
        await altered(genuine, issuer, (claims) => ({ ...claims, 'kubernetes.io': { namespace: 'shop' } })),
        `${'x'.repeat(40)}.${'y'.repeat(40)}.${'z'.repeat(40)}`,
      ];

      // Admissions, refusals, renewals, rejections, refused names, changes, a bad manifest, a pod that goes, garbage.
      for (const token of tokens) await admission(controlPlane, token);
      const web = await EnvoyClient.connected(controlPlane, genuine);
      const cart = await EnvoyClient.connected(controlPlane, cartsToken);
      keys.push(svidOf(web).key, svidOf(cart).key);
      const held = web.version('default');
      await ask('renew', '--pod', 'shop/web');
      await web.until(() => web.version('default') !== held);
      keys.push(svidOf(web).key);
      web.subscribe(SECRET, 'spiffe://cluster.local/ns/shop/sa/cart');
      await web.until(() => web.errors.size > 0);
      web.rejectWith = 'not today';
      await ask('renew', '--pod', 'shop/web');
      world.writePolicy('shop/cart', 'open', '/');
      world.write('bad.yaml', 'kind: [');
      await waitFor('the bad manifest', () => (controlPlane.log.includes('bad.yaml') ? true : undefined));
      for (const format of ['table', 'json', 'yaml']) await ask('proxies', '-o', format);
      const garbage = new EnvoyClient(controlPlane, genuine);
      garbage.sendBytes(Buffer.alloc(64, 0xff));
      await garbage.ended();
      world.removePod('shop/cart');
      await cart.ended();
      await ask('token', '--pod', 'shop/nobody');
      await ask('renew', '--pod', 'shop/cart');
      const metrics = await controlPlane.metrics();
      web.close();
      await controlPlane.stop();

      const { root } = JSON.parse(
        readFileSync(join(world.dataDir, 'authority', 'authority.json'), 'utf8'),
      ) as {
        root: { privateKey: string };
      };
      keys.push(root.privateKey, issuer.export({ format: 'pem', type: 'pkcs8' }));
      const audit = readFileSync(controlPlane.auditLog, 'utf8');
      const outputs = {
        log: controlPlane.log,
        stdout: controlPlane.stdout,
        audit,
        metrics,
        answers: answers.join('\n'),
      };
      // It was busy, and it did speak.
      for (const event of [
        'workload.refused',
        'svid.issued',
        'push.rejected',
        'svid.refused',
        'policy.rejected',
      ]) {
        expect(audit).toContain(event);
      }
      expect(outputs.log).toContain('"level":"debug"');

      const secrets = [
        ...tokens,
        // A signature is what makes a token one; the claims alone prove nothing, but are nobody's business either.
        ...tokens.flatMap((token) =>
          token
            .split('.')
            .slice(1)
            .filter((part) => part.length > 30),
        ),
        ...keys.flatMap(formsOf),
      ];
      expect(secrets.length).toBeGreaterThan(50);
      for (const [output, content] of Object.entries(outputs)) {
        expect(content, output).not.toContain('PRIVATE KEY');
        const leaked = secrets.filter((secret) => content.includes(secret));
        expect(leaked.length, `${leaked.length} secrets in the ${output}`).toBe(0);
      }
    } finally {
      await world.close();
    }
  },
);
