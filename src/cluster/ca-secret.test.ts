import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caParts, checkCa } from '../authority/index.ts';
import { TrustDomain } from '../identity/index.ts';
import { ApiServer } from '../kubernetes/index.ts';
import { FakeApiServer, listOf, type Opened } from '../kubernetes/testing.ts';
import { operatorCa } from '../../test/harness/operator-ca.ts';
import { waitFor } from '../../test/harness/wait.ts';
import { CaSecret, caMaterialOf } from './ca-secret.ts';

const trustDomain = TrustDomain.parse('cluster.local');

function object(version: number, texts: Readonly<Record<string, string>>): object {
  const data = Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );
  return { metadata: { name: 'ca', resourceVersion: String(version) }, data };
}

describe("an operator's CA in a Secret", () => {
  it('is taken in both forms, with the chain and the root in it', async () => {
    const root = await operatorCa({ name: 'Root' });
    const middle = await operatorCa({ name: 'Middle', by: root });
    const signer = await operatorCa({ name: 'Issuing', by: middle });
    const forms = [
      { 'tls.crt': signer.pem + middle.pem, 'tls.key': signer.keyPem, 'ca.crt': root.pem },
      {
        'ca-cert.pem': signer.pem,
        'ca-key.pem': signer.keyPem,
        'root-cert.pem': root.pem,
        'cert-chain.pem': signer.pem + middle.pem + root.pem,
      },
    ];
    for (const form of forms) {
      const material = caMaterialOf({ ...object(1, form) }, 'the Secret home/ca');
      const rules = { trustDomain, nowMs: Date.now(), dnsNames: [], ipAddresses: [] };
      const ca = await checkCa(caParts(material, 'the Secret'), rules);
      expect(ca.root.chain).toEqual([signer.der, middle.der]);
      expect(ca.roots).toEqual([root.der]);
    }
  });

  it('is refused where it is missing, or in neither form, or in both', () => {
    const where = 'the Secret home/ca';
    expect(() => caMaterialOf(undefined, where)).toThrow(/There is no Secret home\/ca/u);
    expect(() => caMaterialOf({ ...object(1, { x: 'y' }) }, where)).toThrow(/the key of neither/u);
    const both = { 'tls.key': 'x', 'ca-key.pem': 'y' };
    expect(() => caMaterialOf({ ...object(1, both) }, where)).toThrow(/the keys of both/u);
  });
});

describe('the Secret', () => {
  let fake: FakeApiServer;
  let api: ApiServer;
  let secret: CaSecret;
  let watch: Opened | undefined;
  beforeEach(async () => {
    fake = new FakeApiServer();
    api = new ApiServer({ access: await fake.start() });
    secret = new CaSecret({
      api,
      namespace: 'home',
      name: 'ca',
      random: () => 0.5,
      monotonicMs: () => performance.now(),
      onFailing: () => {},
      onRecovered: () => {},
    });
  });
  afterEach(async () => {
    await secret.close();
    await api.close();
    await fake.stop();
  });

  it('is followed: changed, and gone', async () => {
    const first = object(10, { 'tls.key': 'one' });
    fake.answer = ({ path, query, json, open: head }) => {
      if (path.endsWith('/ca')) json(first);
      else if (query.get('fieldSelector') !== 'metadata.name=ca') json({}, 500);
      else if (query.has('watch')) watch = head();
      else json(listOf(10, [first]));
    };
    expect((await secret.read()).key).toBe('one');
    await waitFor('the watch', () => watch);
    watch?.events({ type: 'MODIFIED', object: object(11, { 'tls.key': 'two' }) });
    await waitFor('the change', async () => ((await secret.read()).key === 'two' ? true : undefined));
    watch?.events({ type: 'DELETED', object: object(12, { 'tls.key': 'two' }) });
    await waitFor('it to be gone', async () => {
      const error: unknown = await secret.read().catch((cause: unknown) => cause);
      return error instanceof Error && error.message.includes('There is no Secret') ? true : undefined;
    });
  });

  it('is not waited for where it may not be read', async () => {
    fake.answer = ({ json }) => json({ message: 'forbidden' }, 403);
    await expect(secret.read()).rejects.toMatchObject({ code: 'ca-unreadable' });
  });
});
