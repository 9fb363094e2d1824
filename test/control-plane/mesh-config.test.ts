import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { ALLOW, EnvoyClient, EXTENSION } from './envoy-client.ts';
import { World } from './world.ts';

const world = new World('shop/web');
const file = join(world.folder, 'mesh.yaml');
afterAll(async () => {
  await world.close();
});

function write(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

describe('--mesh-config at the start', () => {
  const start = async (...flags: readonly string[]): Promise<{ code: number | null; stderr: string }> => {
    const child = world.spawn('--mesh-config', file, ...flags);
    return { code: await child.exited, stderr: child.stderr };
  };

  it('refuses a file that is missing, has errors, or contradicts a flag', async () => {
    const missing = await start();
    expect(missing).toMatchObject({ code: 2 });
    expect(missing.stderr).toContain(`--mesh-config ${file} cannot be read`);
    write('trustDomian: a\n');
    expect((await start()).stderr).toContain(`--mesh-config ${file} trustDomian: unknown field`);
    write('trustDomain: a\n');
    expect((await start('--trust-domain', 'b')).stderr).toContain(
      'trustDomain: is "a" here and "b" in --trust-domain',
    );
  });
});

describe('--mesh-config of a running control plane', () => {
  let controlPlane: TestControlPlane;
  let web: EnvoyClient;

  beforeAll(async () => {
    write('trustDomain: mesh.example\n');
    controlPlane = await world.start('--mesh-config', file);
    web = await EnvoyClient.connected(controlPlane, await controlPlane.ask('token', '--pod', 'shop/web'));
    web.subscribe(EXTENSION, ALLOW);
    await web.until(() => web.version(ALLOW) !== undefined);
  });
  afterAll(() => web.close());

  const event = async (name: string, more: RegExp): Promise<Record<string, unknown>> =>
    await waitFor(`${name} in the audit log`, () =>
      controlPlane.audit().find((line) => line['event'] === name && more.test(JSON.stringify(line))),
    );

  it('names the trust domain of the identities', async () => {
    const issued = await event('svid.issued', /shop\/web/u);
    expect(issued['id']).toBe('spiffe://mesh.example/ns/shop/sa/web');
  });

  it('takes another default action over, and back, without a new stream', async () => {
    const closed = web.version(ALLOW);
    write('trustDomain: mesh.example\ndefaultAction: allow\n');
    await web.until(() => web.version(ALLOW) !== closed);
    expect(await event('settings.changed', /"allow"/u)).toMatchObject({
      actor: 'mesh-config',
      settings: ['defaultAction'],
    });
    expect(controlPlane.log).toContain('lets everyone in where no ALLOW policy selects a workload');
    write('trustDomain: mesh.example\n');
    await web.until(() => web.version(ALLOW) === closed);
  });

  it('refuses another trust domain, and keeps all of the last good version', async () => {
    const before = web.version(ALLOW);
    write('trustDomain: other.example\ndefaultAction: allow\n');
    const refused = await event('policy.rejected', /trustDomain/u);
    expect(refused['detail']).toContain('from mesh.example to other.example: restart it');
    expect(await controlPlane.metrics()).toMatch(/source_problems 1$/mu);
    expect(web.version(ALLOW)).toBe(before);
    rmSync(file);
    await event('policy.rejected', /cannot be read/u);
    expect(await controlPlane.metrics()).toMatch(/source_problems 1$/mu);
    write('trustDomain: mesh.example\n');
    await waitFor('the problem to be solved', async () =>
      /source_problems 0$/mu.test(await controlPlane.metrics()) ? true : undefined,
    );
    expect(web.open).toBe(true);
  });
});
