import { X509Certificate } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { Authority, memoryKeyStore } from '../../src/authority/index.ts';
import { SpiffeId, TrustDomain } from '../../src/identity/index.ts';
import { servingCertificate } from './serving-certificate.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

it('shows the present certificate also to who comes after another root began to sign', async () => {
  const trustDomain = TrustDomain.parse('example.org');
  const authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain,
    nowMs: Date.now,
    svidTtlMs: 3_600_000,
  });
  const serials: string[] = [];
  const failures: Error[] = [];
  const certificate = servingCertificate({
    authority,
    id: SpiffeId.workload(trustDomain, 'countersign-system', 'control-plane'),
    dnsNames: ['door.test'],
    ipAddresses: [],
    nowMs: Date.now,
    onRenewed: ({ serial }) => serials.push(serial),
    onError: (error) => failures.push(error),
  });
  closers.push(() => certificate.close());
  await authority.prepareRotation();
  await authority.activateRotation();
  expect(serials).toHaveLength(2);
  const shown = new X509Certificate(certificate.current.cert).serialNumber.toLowerCase();
  expect(shown).toBe(serials[1]);
  expect(failures).toEqual([]);
});
