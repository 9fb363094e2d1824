import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import 'reflect-metadata';
import { Extension } from '@peculiar/x509';
import { setImmediate } from 'node:timers/promises';
import { Authority, memoryKeyStore, type CaMaterial } from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import { operatorCa, type OperatorCa } from '../../test/harness/operator-ca.ts';
import type { Witnesses } from './observers.ts';
import { OwnCa, type CaSource, type OwnCaConfig } from './own-ca.ts';

const trustDomain = TrustDomain.parse('mesh.example');
const config: OwnCaConfig = {
  trustDomain,
  serverNames: ['cp.example'],
  listen: { host: 'cp.example', port: 0 },
  bundleEndpoint: undefined,
};

const gauge = { set: (): void => {} };
const witnesses = {
  metrics: { caRefused: gauge },
  audit: { record: (): void => {} },
  log: { info: (): void => {}, error: (): void => {} },
} as unknown as Witnesses;

class Source implements CaSource {
  readonly where = 'memory';
  given: OperatorCa;
  fault: Error | undefined;

  constructor(given: OperatorCa) {
    this.given = given;
  }

  read(): Promise<CaMaterial> {
    const { fault, given } = this;
    if (fault !== undefined) return Promise.reject(fault);
    return Promise.resolve({ certificates: given.pem, key: given.keyPem, roots: '' });
  }

  close(): void {}
}

describe("the operator's CA", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Timers by this clock; what they begin is done elsewhere, and waited for. */
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 500) {
      await vi.advanceTimersByTimeAsync(500);
      for (let turn = 0; turn < 20; turn += 1) await setImmediate();
    }
  }

  it('is looked at again after a fault that may pass, also where the clock was set back meanwhile', async () => {
    const source = new Source(await operatorCa({ name: 'One' }));
    const remarks: (string | undefined)[] = [];
    const ownCa = new OwnCa(source, config, witnesses, (_place, remark) => remarks.push(remark));
    const store = memoryKeyStore();
    const ca = await ownCa.first(store);
    const options = { store, trustDomain, ca, nowMs: Date.now, svidTtlMs: 3_600_000 };
    const authority = await Authority.open(options);
    const stop = ownCa.follow(authority, () => {});
    try {
      await pass(1_000);
      source.fault = new Error('away');
      await pass(1_500);
      expect(remarks.at(-1)).toMatch(/refused, the one before stays in use: away/u);
      vi.setSystemTime(Date.now() - 3_600_000);
      const two = await operatorCa({ name: 'Two', notBefore: new Date(Date.now() - 60_000) });
      source.given = two;
      source.fault = undefined;
      await pass(11_000);
      expect(authority.ca?.root.certificate).toEqual(two.der);
      expect(remarks.at(-1)).toBeUndefined();
    } finally {
      await stop();
      authority.close();
    }
  });

  const everyAddress = Buffer.from('300ea10c300a87080000000000000000', 'hex');
  it.each<[string, Partial<OwnCaConfig>]>([
    ['the gRPC port', { listen: { host: '127.0.0.1', port: 0 } }],
    [
      'the bundle endpoint',
      { bundleEndpoint: { listen: { host: '127.0.0.1', port: 0 }, web: undefined, refreshHintMs: 1 } },
    ],
  ])('is refused where it could not sign the certificate of %s', async (_title, more) => {
    const constraints = new Extension('2.5.29.30', true, everyAddress);
    const given = await operatorCa({ name: 'Names alone', extensions: [constraints] });
    const open = (each: OwnCaConfig): OwnCa => new OwnCa(new Source(given), each, witnesses, () => {});
    await expect(open(config).first(memoryKeyStore())).resolves.toBeDefined();
    await expect(open({ ...config, ...more }).first(memoryKeyStore())).rejects.toMatchObject({
      code: 'ca-constrained',
    });
  });
});
