import { beforeAll, describe, expect, it } from 'vitest';
import { Authority, memoryKeyStore } from '../authority/index.ts';
import { TrustDomain, type TrustBundle } from '../identity/index.ts';
import { ToldBundles } from './told-bundles.ts';

describe('ToldBundles', () => {
  let first: TrustBundle;
  let second: TrustBundle;
  beforeAll(async () => {
    const open = async (): Promise<TrustBundle> => {
      const options = { store: memoryKeyStore(), nowMs: Date.now, svidTtlMs: 3_600_000 };
      return (await Authority.open({ ...options, trustDomain: TrustDomain.parse('example.org') })).bundle;
    };
    [first, second] = [await open(), await open()];
  });

  it('knows of nobody before anybody was told anything', () => {
    expect(new ToldBundles().othersEndMs(first)).toBe(0);
  });

  it('knows how long those live who were told another bundle, as soon as there is another', () => {
    const told = new ToldBundles();
    for (const notAfterMs of [100, 300, 200]) told.add(first, notAfterMs);
    expect([told.othersEndMs(first), told.othersEndMs(second)]).toEqual([0, 300]);
    told.add(second, 900);
    expect([told.othersEndMs(first), told.othersEndMs(second)]).toEqual([900, 300]);
  });

  it('forgets none of them while bundles come and go', () => {
    const told = new ToldBundles();
    told.add(first, 500);
    told.add(second, 100);
    told.add(first, 50);
    expect(told.othersEndMs(second)).toBe(500);
    told.add(second, 60);
    expect(told.othersEndMs(second)).toBe(500);
  });
});
