import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { admission } from './envoy-client.ts';
import { logLines, stackTrace, asText, World } from './world.ts';

let world: World;
beforeEach(() => {
  world = new World('shop/web');
});
afterEach(async () => {
  await world.close();
});

/** Exit code 2, one fatal line that says all of this, and no stack trace. */
async function expectRefused(flags: readonly string[], ...says: readonly (string | RegExp)[]): Promise<void> {
  const { code, message, output } = await world.refused(...flags);
  for (const part of says) {
    if (typeof part === 'string') expect(message).toContain(part);
    else expect(message).toMatch(part);
  }
  expect(output).not.toMatch(stackTrace);
  expect(code).toBe(2);
}

describe('--directory', () => {
  it('that is missing is refused', async () => {
    const directory = join(world.folder, 'nowhere');
    await expectRefused(['--directory', directory], directory, /does not exist.*Name one/u);
  });

  it('that is a file is refused', async () => {
    const directory = join(world.manifests, 'pod-shop-web.yaml');
    await expectRefused(['--directory', directory], directory, /not a directory/u);
  });

  it('that is empty is taken: manifests may come later', async () => {
    world.removePod('shop/web');
    const controlPlane = await world.start();
    await expect(controlPlane.ask('token', '--pod', 'shop/web')).rejects.toThrow(
      'there is no pod shop/web; known pods: none',
    );
    world.writePod({ pod: 'shop/web' });
    const token = await waitFor('the pod', () => controlPlane.ask('token', '--pod', 'shop/web'));
    expect(await admission(controlPlane, token)).toBe('admitted');
  });
});

describe('--data-dir', () => {
  it('is made where it is missing, parents too, for its owner alone', async () => {
    const dataDir = join(world.folder, 'a', 'b');
    const child = world.spawn('--data-dir', dataDir);
    await waitFor('it to be ready', () => (/"msg":"ready"/u.test(child.stderr) ? true : undefined));
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
  });

  it('that is a file is refused, and the file left as it is', async () => {
    const file = join(world.folder, 'file');
    writeFileSync(file, 'mine');
    await expectRefused(['--data-dir', file], `--data-dir ${file}`, /there is a file of that name/u);
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  it('below a file is refused', async () => {
    writeFileSync(join(world.folder, 'file'), '');
    const dataDir = join(world.folder, 'file', 'data');
    await expectRefused(['--data-dir', dataDir], `--data-dir ${dataDir}`, /a part of the path is a file/u);
  });

  it('that cannot be written to is refused', async () => {
    // Not by its mode: tests may run as root, whom no mode stops. In /proc nobody makes anything.
    await expectRefused(
      ['--data-dir', '/proc/data'],
      '--data-dir /proc/data cannot be made',
      /may write to/u,
    );
  });

  it.each([
    ['the manifests’ directory itself', '.', 'is --directory itself'],
    ['below it', 'state/data', 'is inside --directory'],
    ['below it by way of a symbolic link', '../link/data', 'is inside --directory'],
  ])('that is %s is refused, and nothing made in it', async (_which, path, says) => {
    symlinkSync(world.manifests, join(world.folder, 'link'));
    const before = readdirSync(world.manifests);
    const dataDir = `${world.manifests}/${path}`;
    const { code, output } = await world.refused('--data-dir', dataDir);
    expect(output).toContain(`--data-dir ${dataDir} ${says}`);
    expect(output).toMatch(/Name a directory outside of it/u);
    expect(output).not.toMatch(stackTrace);
    expect(code).toBe(2);
    expect(readdirSync(world.manifests)).toEqual(before);
  });

  it('that only begins with the manifests’ name is taken', async () => {
    const child = world.spawn('--data-dir', `${world.manifests}-data`);
    await waitFor('it to be ready', () => (/"msg":"ready"/u.test(child.stderr) ? true : undefined));
  });

  it('of a running control plane is refused, and that one goes on', async () => {
    const controlPlane = await world.start();
    await expectRefused(
      [],
      `another control plane is running on the data directory ${world.dataDir}`,
      /stop it/u,
    );
    const token = await controlPlane.ask('token', '--pod', 'shop/web');
    expect(await admission(controlPlane, token)).toBe('admitted');
  });

  it('goes to one of two that start at once', async () => {
    const both = [world.spawn(), world.spawn()];
    const settled = await Promise.all(
      both.map((child) =>
        waitFor('an outcome', () => {
          if (!child.running) return 'refused';
          return /"msg":"ready"/u.test(child.stderr) ? 'ready' : undefined;
        }),
      ),
    );
    expect(settled.toSorted()).toEqual(['ready', 'refused']);
  });
});

describe('--audit-log', () => {
  it('that cannot be opened is refused with its name', async () => {
    await expectRefused(
      ['--audit-log', world.manifests],
      `--audit-log ${world.manifests}`,
      /it is a directory/u,
    );
    const file = join(world.folder, 'nowhere', 'audit.log');
    await expectRefused(
      ['--audit-log', file],
      `--audit-log ${file} cannot be opened`,
      /its parent is missing/u,
    );
  });
});

describe('a port that is in use is named with its flag:', () => {
  it.each(['--listen', '--admin'])('%s', async (flag) => {
    const port = await freePort();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
    try {
      const address = `127.0.0.1:${port}`;
      await expectRefused(
        [flag, address],
        `${flag} ${address} is in use by another process: choose another port`,
      );
    } finally {
      taken.close();
    }
  });

  it('and an address that this machine has not', async () => {
    await expectRefused(['--listen', '192.0.2.1:15012'], '--listen 192.0.2.1:15012 cannot be opened');
    await expectRefused(['--admin', '192.0.2.1:15014'], '--admin 192.0.2.1:15014 cannot be opened');
  });
});

it('--trust-domain other than that of the root is refused', async () => {
  const controlPlane = await world.start('--trust-domain', 'one.example');
  await controlPlane.stop();
  await expectRefused(
    ['--trust-domain', 'two.example'],
    /of the trust domain one\.example, not two\.example/u,
  );
});

describe('a file of the data directory', () => {
  const files = {
    'authority/authority.json': /Restore it from a backup/u,
    'token-issuer.json': /Restore it from a backup/u,
    'uids.json': /Restore it/u,
  } as const;
  const names = Object.keys(files) as (keyof typeof files)[];

  const used = new World('shop/web');
  beforeAll(async () => {
    const controlPlane = await used.start();
    await controlPlane.stop();
  });
  beforeEach(() => {
    cpSync(used.dataDir, world.dataDir, { recursive: true });
  });
  afterAll(async () => {
    await used.close();
  });

  describe.each(names)('%s', (name) => {
    const path = (): string => join(world.dataDir, name);

    it.each([
      ['emptied', (): string => ''],
      ['cut off', (whole: string): string => whole.slice(0, -20)],
      ['other JSON', (): string => '{"version":7,"format":7}'],
      ['bytes', (): string => '\u0000\u0001\u0002'],
    ])('that is %s is named with what to do, and not touched', async (_how, damage) => {
      const bundle = readFileSync(join(world.dataDir, 'bundle.pem'), 'utf8');
      const whole = readFileSync(path(), 'utf8');
      writeFileSync(path(), damage(whole));
      const { code, message, output } = await world.refused();
      expect(message).toContain(path());
      expect(message).toMatch(files[name]);
      expect(output).not.toMatch(stackTrace);
      expect(code).toBe(2);
      expect(readFileSync(path(), 'utf8')).toBe(damage(whole));
      expect(readFileSync(join(world.dataDir, 'bundle.pem'), 'utf8')).toBe(bundle);
    });

    it('that is a directory cannot be read', async () => {
      rmSync(path());
      mkdirSync(path(), { mode: 0o700 });
      await expectRefused([], path(), /cannot be read|damaged/u);
    });
  });

  it.each(['authority/authority.json', 'token-issuer.json'])(
    '%s that others may read is refused',
    async (name) => {
      const path = join(world.dataDir, name);
      chmodSync(path, 0o644);
      await expectRefused([], path, /chmod 600/u);
      expect(statSync(path).mode & 0o777).toBe(0o644);
      chmodSync(path, 0o600);
      await world.start();
    },
  );

  it('holds keys in mode 0600, and no damage quotes a key', async () => {
    const secrets: string[] = [];
    for (const name of ['authority/authority.json', 'token-issuer.json']) {
      const path = join(world.dataDir, name);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      const whole = readFileSync(path, 'utf8');
      secrets.push(...(whole.match(/[\w+/-]{40,}/gu) ?? []));
      writeFileSync(path, whole.replace('{', '{,'));
    }
    expect(secrets.length).toBeGreaterThan(5);
    const { code, output } = await world.refused('--log-level', 'debug');
    expect(code).toBe(2);
    for (const secret of secrets) expect(output).not.toContain(secret);
  });
});

it('an authority directory that others may write to is refused', async () => {
  const directory = join(world.dataDir, 'authority');
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o777);
  await expectRefused([], directory, /Others may write/u, /chmod 700/u);
});

it('a lost root key is said, and no new root made in its place', async () => {
  const controlPlane = await world.start();
  await controlPlane.stop();
  rmSync(join(world.dataDir, 'authority', 'authority.json'));
  const bundle = readFileSync(controlPlane.bundle, 'utf8');
  await expectRefused([], join(world.dataDir, 'authority', 'authority.json'), /restore it from a backup/u);
  expect(readFileSync(controlPlane.bundle, 'utf8')).toBe(bundle);
});

describe('manifests that are malformed', () => {
  const broken = 'apiVersion: v1\nkind: Pod\nmetadata:\n  namespace: shop\n  name: [\n';
  const wrong = [
    'apiVersion: security.countersign.dev/v1',
    'kind: AuthorizationPolicy',
    'metadata: { namespace: shop, name: wrong }',
    'spec:',
    '  action: PERMIT',
    '',
  ].join('\n');

  it('at the start are reported with file, line and field; the rest goes on', async () => {
    world.write('broken.yaml', broken);
    world.write('wrong.yaml', wrong);
    const controlPlane = await world.start();
    const rejected = controlPlane.audit().filter(({ event }) => event === 'policy.rejected');
    expect(rejected.map(({ where }) => where)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^broken\.yaml:\d+/u), 'wrong.yaml:5 spec.action']),
    );
    expect(rejected.find(({ where }) => asText(where).startsWith('wrong'))?.['detail']).toMatch(
      /expected ALLOW, .*, found "PERMIT"/u,
    );
    const logged = logLines(controlPlane.log).filter(({ level }) => level === 'error');
    expect(logged.map(({ where }) => where)).toEqual(rejected.map(({ where }) => where));
    const [said, recorded] = [logged.map(({ msg }) => msg), rejected.map(({ detail }) => detail)];
    expect(said).toEqual(recorded);
    for (const text of said) expect(text).toContain('it is NOT in force');
    expect(await admission(controlPlane, await controlPlane.ask('token', '--pod', 'shop/web'))).toBe(
      'admitted',
    );
  });

  it('later are reported, leave the last good version in force, and are said to be solved', async () => {
    world.writePolicy('shop/web', 'wrong', '/good');
    const controlPlane = await world.start();
    const problems = async (): Promise<string | undefined> =>
      /^countersign_source_problems (\d+)$/mu.exec(await controlPlane.metrics())?.[1];
    expect(await problems()).toBe('0');
    world.write('policy-wrong.yaml', wrong);
    const event = await waitFor('the report', () =>
      controlPlane.audit().find((one) => one['event'] === 'policy.rejected'),
    );
    expect(event).toMatchObject({ actor: 'directory', where: 'policy-wrong.yaml:5 spec.action' });
    expect(await problems()).toBe('1');
    expect(controlPlane.audit().filter(({ change }) => change === 'removed')).toEqual([]);
    expect(event['detail']).toContain('the last good version stays in force');
    expect(controlPlane.log).toContain('the last good version stays in force');
    expect(controlPlane.log).not.toContain('NOT in force');
    world.writePolicy('shop/web', 'wrong', '/better');
    await waitFor('the change', () =>
      controlPlane
        .audit()
        .find(({ event: name, change }) => name === 'policy.changed' && change === 'updated'),
    );
    await waitFor('the all-clear', async () => ((await problems()) === '0' ? true : undefined));
    expect(controlPlane.log).toContain('"msg":"solved"');
  });
});
