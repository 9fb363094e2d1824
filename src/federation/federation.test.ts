import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeCa } from '../../test/fake/ca.ts';
import { waitFor } from '../../test/harness/wait.ts';
import { TrustBundle, TrustDomain } from '../identity/index.ts';
import { FederationKeeper, type FederatedDomain } from './index.ts';
import { credentialsOf } from '../../test/fake/pem.ts';

const own = TrustDomain.parse('own.example');
const partner = TrustDomain.parse('partner.example');
const endpointId = 'spiffe://partner.example/endpoint';

let ownCa: FakeCa;
let ca: FakeCa;
let next: FakeCa;
beforeAll(async () => {
  ownCa = await FakeCa.root(own, validNow());
  ca = await FakeCa.root(partner, validNow());
  next = await FakeCa.root(partner, validNow());
});

/** A minute back, an hour on: what is fetched is checked against the clock of the process. */
function validNow(): { notBeforeMs: number; notAfterMs: number } {
  return { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
}
function bundle(sequence: number, roots: readonly FakeCa[] = [ca], hint?: number): string {
  return JSON.stringify(
    TrustBundle.of({
      trustDomain: partner,
      x509Authorities: roots.map(({ der }) => der),
      sequence,
      refreshHintSeconds: hint,
    }).toJSON(),
  );
}

/** A clock whose timers go off when they are told to. */
class Timers {
  readonly waiting: { readonly delayMs: number; readonly run: () => void }[] = [];
  readonly after = (delayMs: number, run: () => void): (() => void) => {
    const timer = { delayMs, run };
    this.waiting.push(timer);
    return () => {
      const at = this.waiting.indexOf(timer);
      if (at >= 0) this.waiting.splice(at, 1);
    };
  };
  /** The next poll: the one timer left when no fetch is under way. */
  poll(): number {
    const [timer] = this.waiting.splice(0, 1);
    timer?.run();
    return timer?.delayMs ?? 0;
  }
}

let folder: string;
let servers: Server[];
let keepers: FederationKeeper[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-federation-'));
  servers = [];
  keepers = [];
});
afterEach(async () => {
  for (const keeper of keepers) await keeper.close();
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  rmSync(folder, { recursive: true });
});

interface Reply {
  readonly status?: number;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An endpoint that answers as it is told. @returns its URL */
async function endpoint(
  credentials: { cert: string; key: string },
  reply: () => Reply,
  seen: (path: string) => void = () => undefined,
): Promise<string> {
  const server = createServer(credentials, (request, response) => {
    const { status = 200, body = '', headers = {} } = reply();
    seen(request.url ?? '');
    response.writeHead(status, headers).end(body);
  });
  servers.push(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
const svid = async (from: FakeCa = ca, id: string = endpointId): Promise<{ cert: string; key: string }> =>
  credentialsOf(await from.leaf(id, validNow()));
const spiffe = (url: string, bootstrapBundle = bundle(1)): FederatedDomain => ({
  trustDomain: partner.name,
  url,
  profile: { type: 'https_spiffe', endpointSpiffeId: endpointId },
  bootstrapBundle,
});

interface World {
  readonly keeper: FederationKeeper;
  readonly timers: Timers;
  readonly told: string[];
  /** The trust domains' changes, and the failures. */
  readonly sequence: () => number | undefined;
  readonly failure: () => string | undefined;
  readonly settled: () => Promise<void>;
}

async function open(ownBundle: () => TrustBundle = () => ownCa.bundle()): Promise<World> {
  const timers = new Timers();
  const told: string[] = [];
  let ended = 0;
  const keeper = await FederationKeeper.open({
    stateFile: join(folder, 'federation.json'),
    ownBundle,
    nowMs: Date.now,
    random: () => 0,
    after: timers.after,
    observer: {
      changed: (name, now) => told.push(now === undefined ? `-${name}` : `${name}@${now.sequence}`),
      fetched: () => (ended += 1),
      failed: () => (ended += 1),
      notKept: (error) => told.push(error.message),
    },
  });
  keepers.push(keeper);
  let known = 0;
  return {
    keeper,
    timers,
    told,
    sequence: () => keeper.bundles()[0]?.sequence,
    failure: () => keeper.status()[0]?.failure,
    settled: async () => {
      known = await waitFor('a fetch to end', () => (ended > known ? ended : undefined));
      await waitFor('the next poll to be planned', () => (timers.waiting.length === 1 ? true : undefined));
    },
  };
}

describe('the federation client', () => {
  it('F-13, F-10: begins with the bootstrap bundle, and goes on with the latest', async () => {
    let credentials = await svid();
    let text = bundle(2, [ca, next]);
    const url = await endpoint(credentials, () => ({ body: text }));
    const world = await open();
    world.keeper.want([spiffe(url)]);
    expect(world.sequence(), 'trusted before it was ever fetched').toBe(1);
    await world.settled();
    expect(world.sequence()).toBe(2);
    // Signed by a root that the bootstrap bundle knew nothing of, and without the one that it knew.
    credentials = await svid(next);
    servers[0]?.setSecureContext(credentials);
    text = bundle(3, [next]);
    world.timers.poll();
    await world.settled();
    expect([world.sequence(), world.failure()]).toEqual([3, undefined]);
    expect(world.told).toEqual(['partner.example@1', 'partner.example@2', 'partner.example@3']);
    servers[0]?.setSecureContext(await svid(ca));
    world.timers.poll();
    await world.settled();
    expect(world.failure()).toMatch(/not trusted: No root in the trust bundle of partner\.example/u);
  });

  it('F-10: takes nothing from an endpoint with another SPIFFE ID, or of another trust domain', async () => {
    for (const [from, id, why] of [
      [ca, 'spiffe://partner.example/other', /is spiffe:\/\/partner\.example\/other, not/u],
      [ownCa, 'spiffe://own.example/endpoint', /is spiffe:\/\/own\.example\/endpoint, not/u],
      [ownCa, endpointId, /not trusted: No root/u],
    ] as const) {
      const asked: string[] = [];
      const url = await endpoint(
        await svid(from, id),
        () => ({ body: bundle(9) }),
        (path) => asked.push(path),
      );
      const world = await open();
      world.keeper.want([spiffe(url)]);
      await world.settled();
      expect(world.failure()).toMatch(why);
      expect(asked, 'not even asked').toEqual([]);
    }
  });

  it('F-4, F-10: by https_web, the name in the URL has to be that of a certificate of Web PKI', async () => {
    const before = getCACertificates('default');
    const web = await FakeCa.root(TrustDomain.parse('web.example'), validNow());
    const [named, other] = await Promise.all(
      [['localhost'], ['elsewhere.example']].map(async (dnsNames) =>
        credentialsOf(await web.leaf('spiffe://web.example/x', { ...validNow(), dnsNames })),
      ),
    );
    setDefaultCACertificates([
      ...before,
      credentialsOf(await web.leaf('x'), web.der).cert.split(/(?=-----BEGIN)/u)[1]!,
    ]);
    try {
      for (const [credentials, sequence, why] of [
        [named!, 2, undefined],
        [other!, undefined, /ERR_TLS_CERT_ALTNAME_INVALID/u],
        [await svid(), undefined, /UNABLE_TO_VERIFY_LEAF_SIGNATURE/u],
      ] as const) {
        const url = (await endpoint(credentials, () => ({ body: bundle(2) }))).replace(
          '127.0.0.1',
          'localhost',
        );
        const world = await open();
        world.keeper.want([{ trustDomain: partner.name, url, profile: { type: 'https_web' } }]);
        await world.settled();
        expect(world.sequence()).toBe(sequence);
        if (why === undefined) expect(world.failure()).toBeUndefined();
        else expect(world.failure()).toMatch(why);
        rmSync(join(folder, 'federation.json'), { force: true });
      }
    } finally {
      setDefaultCACertificates(before);
    }
  });

  it('B-2, F-2: keeps the latest by its sequence, and never goes back', async () => {
    let text = bundle(7);
    const url = await endpoint(await svid(), () => ({ body: text }));
    const world = await open();
    world.keeper.want([spiffe(url)]);
    await world.settled();
    for (const [stale, why] of [
      [bundle(6, [ca, next]), /sequence 6, and 7 is known/u],
      [bundle(7, [ca, next]), /other roots than before, and the same sequence 7/u],
    ] as const) {
      text = stale;
      world.timers.poll();
      await world.settled();
      expect(world.failure()).toMatch(why);
      expect(world.keeper.bundles()[0]?.x509Authorities).toHaveLength(1);
    }
    text = bundle(8, [ca, next]);
    world.timers.poll();
    await world.settled();
    expect([world.sequence(), world.failure()]).toEqual([8, undefined]);
  });

  it('B-11, F-2, B-3: polls at the hint, within bounds, and every five minutes without one', async () => {
    let text = bundle(2, [ca], 60);
    const url = await endpoint(await svid(), () => ({ body: text }));
    const world = await open();
    world.keeper.want([spiffe(url)]);
    for (const [hint, delayMs] of [
      [60, 60_000],
      [undefined, 300_000],
      [0, 1_000],
      [1_000_000, 3_600_000],
    ] as const) {
      text = bundle(2, [ca], hint);
      if (hint !== 60) world.timers.poll();
      await world.settled();
      expect(world.timers.waiting[0]?.delayMs).toBe(delayMs);
    }
  });

  it('F-12: after a failure asks at the next interval, and keeps what it has', async () => {
    let reply: Reply = { body: bundle(2, [ca], 60) };
    const url = await endpoint(await svid(), () => reply);
    const world = await open();
    world.keeper.want([spiffe(url)]);
    await world.settled();
    for (const [bad, why] of [
      [{ status: 503 }, /answered 503/u],
      [{ body: '{"keys": [' }, /is not JSON/u],
      [{ body: '{"keys": [], "keys": []}' }, /"keys" twice/u],
      [{ body: Buffer.from([0x7b, 0xff]) }, /not UTF-8/u],
      [{ body: ' '.repeat(256 * 1024 + 1) }, /longer than/u],
      [{ body: '{}', headers: { 'content-encoding': 'gzip' } }, /compressed/u],
    ] as const) {
      reply = bad;
      world.timers.poll();
      await world.settled();
      expect(world.failure()).toMatch(why);
      expect(world.timers.waiting[0]?.delayMs).toBe(60_000);
      expect(world.sequence()).toBe(2);
    }
  });

  it('bounds how long an endpoint may take', async () => {
    const server = createServer(await svid(), () => undefined);
    servers.push(server);
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const world = await open();
    world.keeper.want([spiffe(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`)]);
    await waitFor('the bound', () => (world.timers.waiting.length === 1 ? true : undefined));
    expect(world.timers.poll()).toBe(30_000);
    await world.settled();
    expect(world.failure()).toMatch(/not complete after 30000 ms/u);
  });

  it('F-11, F-7: follows redirects to https alone, each proven the same way, and forgets them', async () => {
    const seen: string[] = [];
    const target = await endpoint(
      await svid(),
      () => ({ body: bundle(2) }),
      () => seen.push('target'),
    );
    const stranger = await endpoint(await svid(ca, 'spiffe://partner.example/other'), () => ({
      body: bundle(9),
    }));
    let location = target;
    const url = await endpoint(
      await svid(),
      () => ({ status: 307, headers: { location } }),
      () => seen.push('first'),
    );
    const world = await open();
    world.keeper.want([spiffe(url)]);
    await world.settled();
    expect(world.sequence()).toBe(2);
    for (const [elsewhere, why] of [
      [stranger, /is spiffe:\/\/partner\.example\/other/u],
      [target.replace('https', 'http'), /leads nowhere/u],
      [target.replace('//', '//me:secret@'), /leads nowhere/u],
      [url, /more than 3 redirects/u],
    ] as const) {
      location = elsewhere;
      world.timers.poll();
      await world.settled();
      expect(world.failure()).toMatch(why);
      expect(world.failure()).not.toContain('secret');
    }
    expect(seen.slice(0, 3)).toEqual(['first', 'target', 'first']);
  });

  it('F-3, B-11: a key of one trust domain vouches for no other', async () => {
    const url = await endpoint(await svid(), () => ({ body: bundle(2, [ca, ownCa]) }));
    const world = await open();
    world.keeper.want([spiffe(url)]);
    await world.settled();
    expect(world.failure()).toMatch(/a key that is one of own\.example, too/u);
    expect(world.sequence()).toBe(1);
    const third: FederatedDomain = {
      ...spiffe(url),
      trustDomain: 'third.example',
      bootstrapBundle: bundle(1),
    };
    world.keeper.want([spiffe(url), third]);
    expect(world.keeper.bundles().map(({ trustDomain }) => trustDomain.name)).toEqual([partner.name]);
  });

  it('F-3: a key that becomes one of our own is no longer theirs', async () => {
    let mine = ownCa.bundle();
    const url = await endpoint(await svid(), () => ({ body: bundle(2) }));
    const world = await open(() => mine);
    world.keeper.want([spiffe(url)]);
    await world.settled();
    mine = mine.withAuthorities([ownCa.der, ca.der]);
    expect(world.keeper.bundles()).toEqual([]);
    expect(world.failure()).toMatch(/a key that is one of own\.example, too/u);
  });

  it('B-5: of an empty bundle nobody is trusted, and it is still known', async () => {
    let text = bundle(2);
    const url = await endpoint(await svid(), () => ({ body: text }));
    const world = await open();
    world.keeper.want([spiffe(url)]);
    await world.settled();
    text = '{"keys": [], "spiffe_sequence": 3}';
    world.timers.poll();
    await world.settled();
    expect(world.keeper.bundles()).toEqual([]);
    expect(world.keeper.knows(partner.name)).toBe(true);
    expect(world.told.at(-1)).toBe('-partner.example');
  });

  it('has its bundles again after a restart, and knows who was federated once', async () => {
    const url = await endpoint(await svid(), () => ({ body: bundle(5) }));
    const first = await open();
    first.keeper.want([spiffe(url)]);
    await first.settled();
    await first.keeper.close();
    const second = await open();
    second.keeper.want([spiffe('https://127.0.0.1:1/')]);
    expect(second.sequence(), 'another relation begins anew').toBe(1);
    second.keeper.want([]);
    expect(second.keeper.bundles()).toEqual([]);
    await second.keeper.close();
    const third = await open();
    third.keeper.want([]);
    expect(third.keeper.knows(partner.name)).toBe(true);
    expect(third.keeper.knows('never.example')).toBe(false);
  });

  it('keeps what it fetched for the same relation, and says where its state cannot be read', async () => {
    const url = await endpoint(await svid(), () => ({ body: bundle(5) }));
    const first = await open();
    first.keeper.want([spiffe(url)]);
    await first.settled();
    await first.keeper.close();
    const second = await open();
    second.keeper.want([spiffe(url)]);
    expect(second.sequence()).toBe(5);
    await second.keeper.close();
    writeFileSync(join(folder, 'federation.json'), '{');
    const third = await open();
    expect(third.told[0]).toMatch(/cannot be used .*: they are fetched anew/u);
    third.keeper.want([spiffe(url)]);
    expect(third.sequence()).toBe(1);
  });
});
