import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { admission, EnvoyClient } from './envoy-client.ts';
import { altered, issuerKey, strangersKey, unsigned } from './forged-token.ts';
import { logLines, asText, World } from './world.ts';

/** What is told to the caller: the factor, and nothing of what was found. */
const refusedBy = {
  token: 'UNAUTHENTICATED: not attested: the token was refused',
  pod: 'PERMISSION_DENIED: not attested: the pod was refused',
  node: 'PERMISSION_DENIED: not attested: the node was refused',
  'service-account': 'PERMISSION_DENIED: not attested: the service account was refused',
  'peer-address': 'PERMISSION_DENIED: not attested: the peer address was refused',
} as const;

let world: World;
let controlPlane: TestControlPlane;

beforeAll(async () => {
  world = new World('shop/web', 'shop/gone', 'shop/anew', 'shop/moved', {
    pod: 'shop/elsewhere',
    ip: '127.9.9.9',
  });
  controlPlane = await world.start('--peer-address', 'require');
});
afterAll(async () => {
  await world.close();
});

async function tokenOf(pod: string, ...flags: readonly string[]): Promise<string> {
  return await controlPlane.ask('token', '--pod', pod, ...flags);
}

/** Refused with that factor and a detail that says why, in the audit and in the log; the caller hears no more. */
async function expectRefusal(
  token: string | undefined,
  factor: keyof typeof refusedBy,
  actor: string,
  detail: RegExp,
): Promise<void> {
  const before = controlPlane.audit().length;
  expect(await admission(controlPlane, token)).toBe(refusedBy[factor]);
  // Many in a row are written one a second.
  const event = await waitFor('the refusal in the audit', () =>
    controlPlane
      .audit()
      .slice(before)
      .find((written) => written['event'] === 'workload.refused'),
  );
  const found = asText(event['detail']);
  expect(event).toMatchObject({ event: 'workload.refused', actor, peer: '127.0.0.1', factor });
  expect(found).toMatch(detail);
  // The log comes through a pipe: later than the answer, if the machine is busy.
  const line = await waitFor('the refusal in the log', () =>
    logLines(controlPlane.log).findLast(({ msg }) => msg === `caller refused: ${found}`),
  );
  expect(line).toMatchObject({ level: 'warn', actor, factor });
}

describe('a caller with', () => {
  it('a genuine token of its own is admitted', async () => {
    expect(await admission(controlPlane, await tokenOf('shop/web'))).toBe('admitted');
  });

  it('no token', async () => {
    await expectRefusal(undefined, 'token', 'unknown', /no token/u);
  });

  it.each(['x', 'a.b.c', 'e30.e30.e30', 'ü', 'A'.repeat(5_000)])('garbage (%#)', async (garbage) => {
    const sendable = Buffer.from(garbage)
      .toString('latin1')
      .replaceAll(/[^!-~]/gu, '?');
    await expectRefusal(sendable, 'token', 'unknown', /token/u);
  });

  it('an expired token', async () => {
    const expired = await altered(await tokenOf('shop/web'), issuerKey(world.dataDir), (claims) => ({
      ...claims,
      exp: Math.floor(Date.now() / 1_000) - 60,
      iat: Math.floor(Date.now() / 1_000) - 120,
    }));
    await expectRefusal(expired, 'token', 'shop/web', /expired/u);
  });

  it('a token for another audience', async () => {
    const other = await tokenOf('shop/web', '--audience', 'https://kubernetes.default.svc');
    await expectRefusal(other, 'token', 'shop/web', /another audience; it must be for `countersign`/u);
  });

  it('a token of another issuer', async () => {
    const other = await altered(await tokenOf('shop/web'), issuerKey(world.dataDir), (claims) => ({
      ...claims,
      iss: 'https://elsewhere.example',
    }));
    await expectRefusal(other, 'token', 'shop/web', /another issuer/u);
  });

  it('an unsigned token (alg none)', async () => {
    await expectRefusal(unsigned(await tokenOf('shop/web')), 'token', 'unknown', /algorithm/u);
  });

  it('a token signed by another key', async () => {
    const forged = await altered(await tokenOf('shop/web'), strangersKey(), (claims) => claims);
    await expectRefusal(forged, 'token', 'unknown', /signature/u);
  });

  it('the token of a deleted pod', async () => {
    const token = await tokenOf('shop/gone');
    world.removePod('shop/gone');
    await waitFor('the pod to go', async () =>
      (await admission(controlPlane, token)) === 'admitted' ? undefined : true,
    );
    await expectRefusal(token, 'pod', 'shop/gone', /pod shop\/gone does not exist/u);
  });

  it('the token of a pod that was re-created under the same name', async () => {
    const token = await tokenOf('shop/anew');
    world.writePod({ pod: 'shop/anew', uid: '5f0f2b8e-0000-4000-8000-000000000001' });
    await waitFor('the other pod', async () =>
      (await admission(controlPlane, token)) === 'admitted' ? undefined : true,
    );
    await expectRefusal(token, 'pod', 'shop/anew', /made anew/u);
    expect(await admission(controlPlane, await tokenOf('shop/anew'))).toBe('admitted');
  });

  it('a token of another node', async () => {
    const other = await altered(await tokenOf('shop/moved'), issuerKey(world.dataDir), (claims) => ({
      ...claims,
      'kubernetes.io': { ...(claims['kubernetes.io'] as object), node: { name: 'node-2' } },
    }));
    await expectRefusal(other, 'node', 'shop/moved', /is on node node-1, the token is of node node-2/u);
  });

  it("a token that names another's service account", async () => {
    const other = await altered(await tokenOf('shop/moved'), issuerKey(world.dataDir), (claims) => {
      const bound = claims['kubernetes.io'] as Record<string, unknown>;
      return {
        ...claims,
        sub: 'system:serviceaccount:shop:web',
        'kubernetes.io': { ...bound, serviceaccount: { name: 'web', uid: 'any' } },
      };
    });
    await expectRefusal(other, 'service-account', 'shop/moved', /runs as moved/u);
  });

  it('an address that is not its pod’s, where --peer-address is require', async () => {
    await expectRefusal(
      await tokenOf('shop/elsewhere'),
      'peer-address',
      'shop/elsewhere',
      /the peer is 127\.0\.0\.1; the pod has 127\.9\.9\.9/u,
    );
  });
});

it('an open stream ends with PERMISSION_DENIED as its pod goes, and others stay', async () => {
  world.writePod({ pod: 'shop/brief' });
  await waitFor('the pod', async () => (await tokenOf('shop/brief').catch(() => undefined)) ?? undefined);
  const brief = await EnvoyClient.connected(controlPlane, await tokenOf('shop/brief'));
  const web = await EnvoyClient.connected(controlPlane, await tokenOf('shop/web'));
  world.removePod('shop/brief');
  expect(await brief.ended()).toBe(refusedBy.pod);
  expect(web.open).toBe(true);
  web.close();
  expect(controlPlane.audit()).toContainEqual(
    expect.objectContaining({ event: 'svid.refused', actor: 'shop/brief', factor: 'renewal' }),
  );
});

describe('--peer-address', () => {
  it.each(['off', 'warn'] as const)('%s lets the address pass, and the audit says so', async (mode) => {
    const lenient = new World({ pod: 'shop/web', ip: '127.9.9.9' });
    try {
      const plane = await lenient.start('--peer-address', mode);
      expect(await admission(plane, await plane.ask('token', '--pod', 'shop/web'))).toBe('admitted');
      const outcome = mode === 'off' ? 'skipped' : 'warned';
      expect(plane.audit().find(({ event }) => event === 'workload.admitted')?.['factors']).toContainEqual({
        factor: 'peer-address',
        outcome,
      });
    } finally {
      await lenient.close();
    }
  });
});
