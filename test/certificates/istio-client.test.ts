import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serverName } from '../control-plane/envoy-client.ts';
import { World } from '../control-plane/world.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { root } from '../harness/paths.ts';
import { run } from '../harness/process.ts';

/** What the client prints. */
interface Printed {
  readonly code?: string;
  readonly message?: string;
  readonly chain?: readonly string[];
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly notAfter?: string;
  readonly roots?: number;
}

const world = new World('shop/web');
let controlPlane: TestControlPlane;
let program: string;
let tokenFile: string;

/** Its progress is shown: the first time it takes a minute. */
async function build(): Promise<string> {
  const child = spawn(join(root, 'test/setup/build-istio-client.sh'), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let path = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (path += text));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error('the Istio client could not be built; why is said above');
  return path.trim();
}

beforeAll(async () => {
  program = await build();
  controlPlane = await world.start();
  tokenFile = join(world.folder, 'istio-token');
  writeFileSync(tokenFile, await controlPlane.ask('token', '--pod', 'shop/web'), { mode: 0o600 });
}, 600_000);
afterAll(async () => {
  await world.close();
});

async function ask(...flags: readonly string[]): Promise<Printed> {
  const { code, stdout, stderr } = await run(program, [
    ...['--address', controlPlane.address, '--server-name', serverName],
    ...['--authorities', controlPlane.bundle, '--token', tokenFile, ...flags],
  ]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as Printed;
}

describe("a client over Istio's published API, which asks and checks as its agents do,", () => {
  it.each(['rsa2048', 'p256', 'p384'])('gets a certificate for a key %s', async (key) => {
    const { chain, uris, dnsNames, notAfter, roots } = await ask('--key', key);
    expect(chain).toHaveLength(3);
    expect(uris).toEqual(['spiffe://cluster.local/ns/shop/sa/web']);
    expect(dnsNames).toBeUndefined();
    expect(roots).toBe(1);
    // It asked for a day.
    expect(Math.round((Date.parse(notAfter ?? '') - Date.now()) / 60_000)).toBe(60);
  });

  it('gets its own identity, whatever its request names', async () => {
    const { uris } = await ask('--claim', 'spiffe://cluster.local/ns/shop/sa/admin');
    expect(uris).toEqual(['spiffe://cluster.local/ns/shop/sa/web']);
  });

  it.each([
    [['--key', 'rsa1024'], /RSA key of 1024 bits/u],
    [['--key', 'p224'], /secp224r1: ECDSA on P-256 or P-384/u],
    [['--key', 'p521'], /secp521r1/u],
    [['--validity', '30s'], /validity_duration is 30 s: 60 to 86400 s/u],
    [['--validity', '-1h'], /validity_duration is -3600 s/u],
    [['--validity', '8760h'], /validity_duration is 31536000 s/u],
    [
      ['--impersonate', 'spiffe://cluster.local/ns/shop/sa/admin'],
      /ImpersonatedIdentity: only the caller's own/u,
    ],
  ])('is told why not: %j', async (flags, message) => {
    const refused = await ask(...flags);
    expect(refused).toEqual({ code: 'InvalidArgument', message: expect.stringMatching(message) as string });
  });

  it('is told which factor of its proof failed', async () => {
    const garbage = join(world.folder, 'garbage');
    writeFileSync(garbage, 'garbage');
    expect(await ask('--token', garbage)).toEqual({
      code: 'Unauthenticated',
      message: 'not attested: the token was refused',
    });
    const forAnother = join(world.folder, 'istio-ca-token');
    writeFileSync(forAnother, await controlPlane.ask('token', '--pod', 'shop/web', '--audience', 'istio-ca'));
    expect(await ask('--token', forAnother)).toMatchObject({ code: 'Unauthenticated' });
  });
});
