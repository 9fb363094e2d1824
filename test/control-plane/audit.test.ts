import { createHash, X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { admission, ALLOW, EnvoyClient, SECRET, svidOf } from './envoy-client.ts';
import { logLines, World } from './world.ts';

type Event = Readonly<Record<string, unknown>>;

const world = new World('shop/web', 'shop/cart');
let controlPlane: TestControlPlane;
let token: string;
let web: EnvoyClient;

beforeAll(async () => {
  world.writePolicy('shop/web', 'start', '/');
  controlPlane = await world.start();
  token = await controlPlane.ask('token', '--pod', 'shop/web');
  web = await EnvoyClient.connected(controlPlane, token);
});
afterAll(async () => {
  web.close();
  await world.close();
});

const isTime: unknown = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u);
const isDigest: unknown = expect.stringMatching(/^[0-9a-f]{64}$/u);
const isNumber: unknown = expect.any(Number);
const stamp = { time: isTime, sequence: isNumber };

/** The first such event; waited for. */
async function recorded(wanted: Event): Promise<Event> {
  return await waitFor(`the event ${JSON.stringify(wanted)}`, () =>
    controlPlane
      .audit()
      .find((event) => Object.entries(wanted).every(([name, value]) => event[name] === value)),
  );
}

describe('an event tells of', () => {
  it('a token given out', async () => {
    expect(await recorded({ event: 'token.issued' })).toEqual({
      ...stamp,
      event: 'token.issued',
      actor: 'shop/web',
      audience: 'countersign',
      notAfter: isTime,
    });
  });

  const factors = [
    { factor: 'token', outcome: 'passed' },
    { factor: 'pod', outcome: 'passed' },
    { factor: 'service-account', outcome: 'passed' },
    { factor: 'node', outcome: 'passed' },
    { factor: 'peer-address', outcome: 'passed' },
  ];

  it('an admission: who, from where, by which token, which factors', async () => {
    expect(await recorded({ event: 'workload.admitted' })).toEqual({
      ...stamp,
      event: 'workload.admitted',
      actor: 'shop/web',
      id: 'spiffe://cluster.local/ns/shop/sa/web',
      peer: '127.0.0.1',
      tokenId: decodeJwt(token).jti,
      factors,
    });
  });

  it('an issuance: serial and digest of the very certificate, and the factors that allowed it', async () => {
    const leaf = new X509Certificate(svidOf(web).chain);
    expect(await recorded({ event: 'svid.issued', actor: 'shop/web' })).toEqual({
      ...stamp,
      event: 'svid.issued',
      podUid: /^UID=(.*)$/mu.exec(leaf.subject)?.[1],
      actor: 'shop/web',
      id: 'spiffe://cluster.local/ns/shop/sa/web',
      serial: leaf.serialNumber.toLowerCase(),
      digest: createHash('sha256').update(leaf.raw).digest('hex'),
      notAfter: leaf.validToDate.toISOString(),
      reason: 'first',
      factors,
    });
  });

  it('a refusal: the factor and the detail', async () => {
    await admission(controlPlane, 'garbage');
    expect(await recorded({ event: 'workload.refused' })).toEqual({
      ...stamp,
      event: 'workload.refused',
      actor: 'unknown',
      peer: '127.0.0.1',
      factor: 'token',
      detail: expect.stringMatching(/malformed/u) as string,
      leftOut: 0,
    });
  });

  it('the names that a response refused', async () => {
    const foreign = 'spiffe://cluster.local/ns/shop/sa/cart';
    web.subscribe(SECRET, 'no-such-secret', foreign);
    expect(await recorded({ event: 'resource.refused' })).toEqual({
      ...stamp,
      event: 'resource.refused',
      actor: 'shop/web',
      type: 'Secret',
      resources: [
        { name: 'no-such-secret', detail: expect.stringMatching(/^no secret has this name/u) as string },
        { name: foreign, detail: expect.stringMatching(/is not this workload's identity/u) as string },
      ],
      leftOut: 0,
    });
  });

  it('the first names of a response that refused many, and how many more; long ones are cut', async () => {
    const names = Array.from({ length: 25 }, (_, index) => `${index}-${'x'.repeat(1_000)}`);
    web.subscribe(SECRET, ...names);
    const { resources } = await recorded({ event: 'resource.refused', leftOut: 5 });
    expect((resources as { name: string }[]).map(({ name }) => name)).toEqual(
      names.slice(0, 20).map((name) => `${name.slice(0, 256)}…`),
    );
  });

  it('a policy added, updated and removed, with digest, generation and how many workloads it selects', async () => {
    world.writePolicy('shop/web', 'life', '/one');
    const added = await recorded({ event: 'policy.changed', policy: 'shop/life', change: 'added' });
    world.writePolicy('shop/web', 'life', '/two');
    const updated = await recorded({ event: 'policy.changed', policy: 'shop/life', change: 'updated' });
    world.remove('policy-life.yaml');
    const removed = await recorded({ event: 'policy.changed', policy: 'shop/life', change: 'removed' });
    for (const [event, change] of [
      [added, 'added'],
      [updated, 'updated'],
      [removed, 'removed'],
    ] as const) {
      expect(event).toEqual({
        ...stamp,
        event: 'policy.changed',
        actor: 'directory',
        kind: 'AuthorizationPolicy',
        policy: 'shop/life',
        change,
        digest: isDigest,
        generation: isNumber,
        workloads: 1,
      });
    }
    expect(updated['digest']).not.toBe(added['digest']);
    expect(removed['digest']).toBe(updated['digest']);
    const generations = [added, updated, removed].map(({ generation }) => Number(generation));
    expect(generations).toEqual(generations.toSorted((a, b) => a - b));
    expect(new Set(generations).size).toBe(3);
  });

  it('a push that Envoy rejected, at which generation', async () => {
    const cart = await EnvoyClient.connected(
      controlPlane,
      await controlPlane.ask('token', '--pod', 'shop/cart'),
    );
    cart.rejectWith = 'unknown matcher';
    world.writePolicy('shop/cart', 'rejected', '/x');
    const event = await recorded({ event: 'push.rejected' });
    expect(event).toEqual({
      ...stamp,
      event: 'push.rejected',
      actor: 'shop/cart',
      type: 'TypedExtensionConfig',
      resources: [ALLOW],
      detail: 'unknown matcher',
      generation: (await recorded({ event: 'policy.changed', policy: 'shop/rejected' }))['generation'],
      leftOut: 0,
    });
    // Kept, shown, and not sent again until something changes.
    const { responses } = cart;
    await waitFor('the status', async () =>
      (await controlPlane.ask('proxies')).includes('REJECTED: unknown matcher') ? true : undefined,
    );
    expect(cart.responses).toBe(responses);
    cart.rejectWith = undefined;
    world.writePolicy('shop/cart', 'rejected', '/y');
    await cart.until(() => cart.responses > responses);
    await waitFor('the all-clear', async () =>
      (await controlPlane.ask('proxies')).includes('REJECTED') ? undefined : true,
    );
    cart.close();
  });

  it('a manifest that was refused', async () => {
    world.write('bad.yaml', 'apiVersion: v1\nkind: Pod\nmetadata: {}\n');
    expect(await recorded({ event: 'policy.rejected' })).toEqual({
      ...stamp,
      event: 'policy.rejected',
      actor: 'directory',
      where: expect.stringMatching(/^bad\.yaml:\d+ metadata/u) as string,
      detail: expect.any(String) as string,
    });
    world.remove('bad.yaml');
  });

  it('a renewal refused as its pod is gone', async () => {
    const cart = await EnvoyClient.connected(
      controlPlane,
      await controlPlane.ask('token', '--pod', 'shop/cart'),
    );
    world.removePod('shop/cart');
    await cart.ended();
    expect(await recorded({ event: 'svid.refused' })).toEqual({
      ...stamp,
      event: 'svid.refused',
      actor: 'shop/cart',
      id: 'spiffe://cluster.local/ns/shop/sa/cart',
      factor: 'renewal',
      detail: expect.stringMatching(/pod is gone/u) as string,
      leftOut: 0,
    });
  });
});

describe('the audit stream', () => {
  it('is numbered without gaps, in the order of time', () => {
    const events = controlPlane.audit();
    expect(events.length).toBeGreaterThan(10);
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_event, index) => index + 1));
    const times = events.map(({ time }) => Date.parse(String(time)));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  it('goes to --audit-log, which only its owner can read, and not to stdout', () => {
    expect(statSync(controlPlane.auditLog).mode & 0o777).toBe(0o600);
    expect(controlPlane.stdout).toBe('');
  });

  it('is appended to over a restart', async () => {
    const before = controlPlane.audit();
    await controlPlane.restart();
    expect(controlPlane.audit().slice(0, before.length)).toEqual(before);
    expect(controlPlane.audit().length).toBeGreaterThan(before.length);
  });

  it('goes to stdout by default, and the log does not', async () => {
    const other = new World('shop/web');
    try {
      other.writePolicy('shop/web', 'open', '/');
      const child = other.spawn();
      await waitFor('it to be ready', () => (child.stderr.includes('"msg":"ready"') ? true : undefined));
      const events = logLines(child.stdout);
      expect(events).toContainEqual(
        expect.objectContaining({ event: 'policy.changed', policy: 'shop/open' }),
      );
      expect(events.every(({ event, msg }) => event !== undefined && msg === undefined)).toBe(true);
      expect(child.stdout.trim().split('\n')).toHaveLength(events.length);
      expect(logLines(child.stderr).every(({ msg }) => msg !== undefined)).toBe(true);
    } finally {
      await other.close();
    }
  });
});
