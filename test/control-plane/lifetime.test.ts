import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { freePort } from '../harness/ports.ts';
import type { Child } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { admission, EnvoyClient } from './envoy-client.ts';
import { handshake } from './handshake.ts';
import { watchHealth } from './health.ts';
import { World } from './world.ts';

async function inWorld(test: (world: World) => Promise<void>): Promise<void> {
  const world = new World('shop/web');
  try {
    await test(world);
  } finally {
    await world.close();
  }
}

async function connect(controlPlane: TestControlPlane): Promise<EnvoyClient> {
  return await EnvoyClient.connected(controlPlane, await controlPlane.ask('token', '--pod', 'shop/web'));
}

/** Half a minute passes before its certificate is renewed: it runs beside all other tests. */
const agingWorld = new World('shop/web');
const aging = (async () => {
  const controlPlane = await agingWorld.start('--svid-ttl', '1m');
  const envoy = await connect(controlPlane);
  const leaf = (await handshake(controlPlane)).chain[0] ?? Buffer.alloc(0);
  return { controlPlane, envoy, held: envoy.version('default'), leaf };
})();
beforeAll(async () => {
  await aging;
});
afterAll(async () => {
  await agingWorld.close();
});

const socketOf = (world: World): string => join(world.dataDir, 'run', 'operator.sock');

describe('on SIGTERM', () => {
  it('health says NOT_SERVING, streams end with UNAVAILABLE, readyz says so, the socket goes, exit code 0', async () => {
    await inWorld(async (world) => {
      const controlPlane = await world.start();
      const envoy = await connect(controlPlane);
      // As long as somebody watches, the stop waits for its grace: time to look at it.
      const health = watchHealth(controlPlane);
      await waitFor('a status', () => health.statuses[0]);
      expect(existsSync(socketOf(world))).toBe(true);
      process.kill(controlPlane.pid, 'SIGTERM');
      expect(await envoy.ended()).toBe('UNAVAILABLE: the server is stopping; reconnect');
      await waitFor('health to change', () => health.statuses[1]);
      expect(health.statuses).toEqual(['SERVING', 'NOT_SERVING']);
      const ready = await fetch(`http://${controlPlane.admin}/readyz`);
      expect({ status: ready.status, body: await ready.text() }).toEqual({
        status: 503,
        body: 'stop: in progress\n',
      });
      expect(await controlPlane.exited).toBe(0);
      health.close();
      expect(existsSync(socketOf(world))).toBe(false);
      expect(controlPlane.log.trim().split('\n').at(-1)).toContain('"msg":"stopped"');
    });
  });

  it('a second one does not wait', async () => {
    await inWorld(async (world) => {
      const controlPlane = await world.start();
      const health = watchHealth(controlPlane);
      await waitFor('a status', () => health.statuses[0]);
      process.kill(controlPlane.pid, 'SIGTERM');
      await waitFor('the stop', () => (controlPlane.log.includes('"msg":"stopping"') ? true : undefined));
      process.kill(controlPlane.pid, 'SIGTERM');
      expect(await controlPlane.exited).toBe(null);
      expect(controlPlane.log).toContain('stopping at once');
      health.close();
      // What it left behind stops nobody.
      await controlPlane.restart();
      expect(await admission(controlPlane, await controlPlane.ask('token', '--pod', 'shop/web'))).toBe(
        'admitted',
      );
    });
  });
});

describe('over a restart', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)('after %s, root, bundle, UIDs and tokens stay', async (signal) => {
    await inWorld(async (world) => {
      const controlPlane = await world.start();
      const token = await controlPlane.ask('token', '--pod', 'shop/web');
      const envoy = await EnvoyClient.connected(controlPlane, token);
      const kept = (): readonly string[] =>
        ['bundle.pem', 'bundle.json', 'uids.json', 'token-issuer.json', 'authority/authority.json'].map(
          (name) => readFileSync(join(world.dataDir, name), 'utf8'),
        );
      const before = kept();
      if (signal === 'SIGKILL') {
        await controlPlane.killHard();
        expect(existsSync(socketOf(world))).toBe(true);
      } else expect(await controlPlane.stop()).toBe(0);
      expect(await envoy.ended()).toMatch(/^UNAVAILABLE/u);
      await controlPlane.restart();
      expect(kept()).toEqual(before);
      const again = await EnvoyClient.connected(controlPlane, token);
      expect(again.version('ROOTCA')).toBe(envoy.version('ROOTCA'));
      again.close();
      expect(await controlPlane.ask('proxies')).toContain('POD');
    });
  });

  it('a pod that was deleted and made anew meanwhile is another one', async () => {
    await inWorld(async (world) => {
      const controlPlane = await world.start();
      const token = await controlPlane.ask('token', '--pod', 'shop/web');
      await controlPlane.stop();
      world.removePod('shop/web');
      await controlPlane.restart();
      expect(await admission(controlPlane, token)).toMatch(/^PERMISSION_DENIED/u);
      world.writePod({ pod: 'shop/web' });
      const fresh = await waitFor('the new pod', () => controlPlane.ask('token', '--pod', 'shop/web'));
      expect(await admission(controlPlane, token)).toMatch(/^PERMISSION_DENIED/u);
      expect(await admission(controlPlane, fresh)).toBe('admitted');
    });
  });
});

describe('while it starts', () => {
  /** A start that waits: the state file is a pipe that nobody has written to yet. */
  async function stuck(world: World): Promise<{ child: Child; admin: string; goOn: () => void }> {
    mkdirSync(world.dataDir, { mode: 0o700 });
    const pipe = join(world.dataDir, 'uids.json');
    execFileSync('mkfifo', [pipe]);
    const admin = `127.0.0.1:${await freePort()}`;
    const child = world.spawn('--admin', admin);
    await waitFor('the step', async () => {
      const body = await (await fetch(`http://${admin}/readyz`)).text();
      return body.includes('manifests') ? true : undefined;
    });
    return { child, admin, goOn: () => writeFileSync(pipe, '{"version":1,"uids":{}}') };
  }

  it('the admin port answers, and /readyz says what is missing', async () => {
    await inWorld(async (world) => {
      const { child, admin, goOn } = await stuck(world);
      const get = async (path: string): Promise<string> => {
        const response = await fetch(`http://${admin}${path}`);
        return `${response.status} ${await response.text()}`;
      };
      expect(await get('/healthz')).toBe('200 ok\n');
      expect(await get('/readyz')).toBe(`503 start: reading the manifests in ${world.manifests}\n`);
      expect(await get('/metrics')).toMatch(/^200 .*countersign_svids_issued_total/su);
      expect(child.stderr).not.toContain('"msg":"ready"');
      goOn();
      await waitFor('it to be ready', async () => ((await get('/readyz')) === '200 ok\n' ? true : undefined));
      expect(await child.stop()).toBe(0);
    });
  });

  it('two SIGTERMs end it', async () => {
    await inWorld(async (world) => {
      const { child } = await stuck(world);
      child.kill('SIGTERM');
      child.kill('SIGINT');
      expect(await child.exited).toBe(null);
    });
  });
});

describe('its own certificate', () => {
  it(
    'is renewed while running: new connections see the new one, and the open stream goes on',
    { timeout: 120_000 },
    async () => {
      const { controlPlane, envoy, held, leaf } = await aging;
      await waitFor(
        'another certificate',
        async () => ((await handshake(controlPlane)).chain[0]?.equals(leaf) === false ? true : undefined),
        { timeoutMs: 60_000, everyMs: 500 },
      );
      await waitFor('the Envoy’s own renewal', () => (envoy.version('default') === held ? undefined : true), {
        timeoutMs: 60_000,
      });
      expect(envoy.open).toBe(true);
      envoy.close();
      const issued = controlPlane
        .audit()
        .filter(({ event, actor }) => event === 'svid.issued' && actor !== 'control-plane');
      expect(issued.slice(0, 2).map(({ reason }) => reason)).toEqual(['first', 'renewal']);
    },
  );
});
