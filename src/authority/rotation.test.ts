import { X509Certificate } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SpiffeId, TrustDomain, verifySvid } from '../identity/index.ts';
import {
  Authority,
  memoryKeyStore,
  parseStored,
  serializeStored,
  type IssuedSvid,
  type KeyStore,
  type RotationStep,
  type StoredAuthority,
} from './index.ts';

const td = TrustDomain.parse('example.org');
const id = SpiffeId.workload(td, 'shop', 'web');
const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 10, 22, 12);

interface World {
  authority: Authority;
  readonly store: KeyStore;
  readonly clock: { nowMs: number };
  readonly restart: () => Promise<void>;
}

async function world(store: KeyStore = memoryKeyStore()): Promise<World> {
  const clock = { nowMs: START_MS };
  const open = (): Promise<Authority> =>
    Authority.open({
      store,
      trustDomain: td,
      nowMs: () => clock.nowMs,
      svidTtlMs: HOUR_MS,
      rootTtlMs: 1_000 * HOUR_MS,
      selfCheckEvery: 1,
    });
  const made: World = {
    authority: await open(),
    store,
    clock,
    restart: async () => {
      made.authority.close();
      made.authority = await open();
    },
  };
  return made;
}

function holds({ authority, clock }: World, svid: IssuedSvid): boolean {
  try {
    verifySvid({ chain: svid.chain, bundles: () => authority.bundle, nowMs: clock.nowMs });
    return true;
  } catch {
    return false;
  }
}

const take: Record<RotationStep, (authority: Authority, force: boolean) => Promise<void>> = {
  prepare: (authority) => authority.prepareRotation(),
  activate: (authority) => authority.activateRotation(),
  retire: (authority, force) => authority.retireRotation(force),
  abort: (authority, force) => authority.abortRotation(force),
};

const refused = expect.objectContaining({ name: 'AuthorityError', code: 'rotation-refused' });

describe('a rotation', () => {
  it('puts a new root in the place of the old one, and no SVID stops being trusted before its end', async () => {
    const w = await world();
    const first = w.authority.rotation.signing.fingerprint;
    const before = w.authority.issue(id);

    await w.authority.prepareRotation();
    expect(w.authority.rotation).toMatchObject({ step: 'prepared', signing: { fingerprint: first } });
    expect(w.authority.bundle.x509Authorities).toHaveLength(2);
    const during = w.authority.issue(id);
    expect(w.authority.isCurrent(during)).toBe(true);

    await w.authority.activateRotation();
    const after = w.authority.issue(id);
    expect(w.authority.rotation).toMatchObject({ step: 'activated', other: { fingerprint: first } });
    expect([before, during, after].map((svid) => w.authority.isCurrent(svid))).toEqual([false, false, true]);
    expect([before, during, after].every((svid) => holds(w, svid))).toBe(true);

    await expect(w.authority.retireRotation()).rejects.toThrow(/live until 2026-11-22T13:00:00/);
    w.clock.nowMs += HOUR_MS;
    const last = w.authority.issue(id);
    await w.authority.retireRotation();
    expect(w.authority.rotation.step).toBe('steady');
    expect(w.authority.bundle.x509Authorities).toHaveLength(1);
    expect(holds(w, last)).toBe(true);
  });

  it('tells of the bundle and of the signer, each when it changes', async () => {
    const { authority, clock } = await world();
    const heard: string[] = [];
    authority.onBundleChange(({ sequence, x509Authorities }) =>
      heard.push(`bundle ${sequence} of ${x509Authorities.length}`),
    );
    const stop = authority.onSignerChange(() => heard.push('signer'));
    await authority.prepareRotation();
    await authority.activateRotation();
    await authority.abortRotation();
    await authority.activateRotation();
    stop();
    clock.nowMs += HOUR_MS;
    await authority.retireRotation();
    expect(heard).toEqual(['bundle 2 of 2', 'signer', 'signer', 'signer', 'bundle 3 of 1']);
  });

  it('can be taken back: the former root signs again, and the new one leaves when nothing of it lives', async () => {
    const w = await world();
    const first = w.authority.rotation.signing.fingerprint;
    await w.authority.prepareRotation();
    await w.authority.activateRotation();
    const ofNew = w.authority.issue(id);
    await w.authority.abortRotation();
    expect(w.authority.rotation).toMatchObject({ step: 'prepared', signing: { fingerprint: first } });
    expect(holds(w, ofNew)).toBe(true);
    await expect(w.authority.abortRotation()).rejects.toEqual(refused);
    w.clock.nowMs += HOUR_MS;
    await w.authority.abortRotation();
    expect(w.authority.rotation).toMatchObject({ step: 'steady', signing: { fingerprint: first } });
  });

  it('that never signed leaves at once', async () => {
    const { authority } = await world();
    await authority.prepareRotation();
    await authority.abortRotation();
    expect(authority.bundle.x509Authorities).toHaveLength(1);
  });

  it.each([
    ['steady', [], ['activate', 'retire', 'abort'], /no rotation is under way\. Possible now: prepare\./],
    ['prepared', ['prepare'], ['prepare', 'retire'], /is prepared\. Possible now: activate, abort\./],
    [
      'activated',
      ['prepare', 'activate'],
      ['prepare', 'activate'],
      /is activated\. Possible now: retire, abort\./,
    ],
  ] as const)('refuses steps out of order: %s', async (_at, way, wrong, message) => {
    const { authority } = await world();
    for (const step of way) await take[step](authority, false);
    const before = authority.rotation;
    for (const step of wrong) {
      await expect(take[step](authority, true)).rejects.toEqual(refused);
      await expect(take[step](authority, true)).rejects.toThrow(message);
    }
    expect(authority.rotation).toEqual(before);
  });

  it('takes one step at a time: of two at once the second is refused', async () => {
    const { authority } = await world();
    const both = await Promise.allSettled([authority.prepareRotation(), authority.prepareRotation()]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(authority.bundle.x509Authorities).toHaveLength(2);
  });

  it('changes nothing where the store cannot keep it', async () => {
    const inner = memoryKeyStore();
    let broken = false;
    const store: KeyStore = {
      ...inner,
      save: (state) => (broken ? Promise.reject(new Error('disk full')) : inner.save(state)),
    };
    const w = await world(store);
    await w.authority.prepareRotation();
    const before = w.authority.rotation;
    broken = true;
    await expect(w.authority.activateRotation()).rejects.toThrow('disk full');
    expect(w.authority.rotation).toEqual(before);
    broken = false;
    await w.authority.activateRotation();
    expect(w.authority.rotation.step).toBe('activated');
  });

  it('goes on where it was after a restart, and still knows how long the old SVIDs live', async () => {
    const w = await world();
    await w.authority.prepareRotation();
    await w.restart();
    await w.authority.activateRotation();
    const state = w.authority.rotation;
    await w.restart();
    expect(w.authority.rotation).toEqual(state);
    await expect(w.authority.retireRotation()).rejects.toEqual(refused);
    w.clock.nowMs += HOUR_MS;
    await w.authority.retireRotation();
    expect(w.authority.bundle.x509Authorities).toHaveLength(1);
  });

  it('never leaves an SVID untrusted before its end, whatever the order of steps, waits and restarts', async () => {
    const steps = fc.array(
      fc.oneof(
        fc.constantFrom<RotationStep>('prepare', 'activate', 'retire', 'abort'),
        fc.record({ waitMinutes: fc.integer({ min: 1, max: 70 }) }),
        fc.constant('restart' as const),
      ),
      { maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async (way) => {
        const w = await world();
        const issued: IssuedSvid[] = [];
        for (const step of way) {
          issued.push(w.authority.issue(id));
          if (step === 'restart') await w.restart();
          else if (typeof step === 'object') w.clock.nowMs += step.waitMinutes * 60_000;
          else await take[step](w.authority, false).catch((error: unknown) => expect(error).toEqual(refused));
          const living = issued.filter(({ notAfterMs }) => w.clock.nowMs < notAfterMs);
          expect(living.every((svid) => holds(w, svid))).toBe(true);
          expect(w.authority.bundle.x509Authorities.length).toBe(
            w.authority.rotation.step === 'steady' ? 1 : 2,
          );
        }
      }),
      { numRuns: 25 },
    );
  }, 30_000);
});

describe('what a former root says of its successor', () => {
  /** Verified by a library that shares nothing with ours, from the one root that a long-running client knows. */
  function leads(root: Buffer, chainPem: string): boolean {
    const chain = chainPem.split(/(?<=-----END CERTIFICATE-----\n)/u).filter((pem) => pem !== '');
    const certificates = [...chain.map((pem) => new X509Certificate(pem)), new X509Certificate(root)];
    return certificates.every((certificate, index) => {
      const issuer = certificates[index + 1];
      return (
        issuer === undefined || (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))
      );
    });
  }

  async function rotate({ authority, clock }: World): Promise<void> {
    await authority.prepareRotation();
    await authority.activateRotation();
    clock.nowMs += HOUR_MS;
    await authority.retireRotation();
  }

  it('leads who knows the first root alone to the third, after restarts too', async () => {
    const w = await world();
    const [first] = w.authority.bundle.x509Authorities;
    expect(w.authority.crossChainPem).toBe('');
    expect(leads(first!, w.authority.issue(id).chainPem)).toBe(true);
    await rotate(w);
    await rotate(w);
    await w.restart();
    const { chainPem } = w.authority.issue(id);
    expect(leads(first!, chainPem)).toBe(false);
    expect(leads(first!, chainPem + w.authority.crossChainPem)).toBe(true);
    expect(w.authority.bundle.x509Authorities).toHaveLength(1);
  });

  it('is forgotten with a root that is given up, and with one that has ended', async () => {
    const w = await world();
    await w.authority.prepareRotation();
    await w.authority.activateRotation();
    expect(w.authority.crossChainPem).not.toBe('');
    await w.authority.abortRotation();
    w.clock.nowMs += HOUR_MS;
    await w.authority.abortRotation();
    expect(w.authority.crossChainPem).toBe('');
    await rotate(w);
    w.clock.nowMs += 999 * HOUR_MS;
    await rotate(w);
    const count = w.authority.crossChainPem.split('BEGIN CERTIFICATE').length - 1;
    expect(count).toBe(1);
  });
});

describe('the kept form', () => {
  async function kept(way: readonly RotationStep[]): Promise<StoredAuthority> {
    const store = memoryKeyStore();
    const { authority } = await world(store);
    for (const step of way) await take[step](authority, false);
    const state = await store.load();
    if (state === undefined) throw new Error('nothing was kept');
    return state;
  }

  it.each([[[]], [['prepare']], [['prepare', 'activate']]] as const)('holds all of %j', async (way) => {
    const state = await kept(way);
    const text = serializeStored(state);
    const read = parseStored(text, 'It');
    expect(serializeStored(read)).toBe(text);
    expect(read.root).toEqual(state.root);
    expect(read.rotation).toEqual(state.rotation);
  });

  it('of the first release, which knew no rotation, is read', async () => {
    const text = serializeStored(await kept([])).replace('"format": 2', '"format": 1');
    expect(parseStored(text, 'It').rotation).toBeUndefined();
  });

  it.each([
    ['an unknown step', '"step": "prepared"', '"step": "done"'],
    ['a time that is none', '"otherEndsMs": 0', '"otherEndsMs": -1'],
  ])('is refused with %s', async (_what, from, to) => {
    const text = serializeStored(await kept(['prepare']));
    expect(text).toContain(from);
    expect(() => parseStored(text.replace(from, to), 'It')).toThrow(
      expect.objectContaining({ code: 'store-corrupted' }),
    );
  });
});
