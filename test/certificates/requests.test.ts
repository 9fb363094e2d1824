import { createHash, generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import 'reflect-metadata';
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TrustBundle, TrustDomain, verifySvid } from '../../src/identity/index.ts';
import { pem, requestPem } from '../bench/certificate-request.ts';
import { altered, issuerKey, strangersKey, unsigned } from '../control-plane/forged-token.ts';
import { World } from '../control-plane/world.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { CertificateClient, type Outcome } from './client.ts';

const webId = 'spiffe://cluster.local/ns/shop/sa/web';
const world = new World('shop/web', 'shop/gone');
let controlPlane: TestControlPlane;
let client: CertificateClient;
let token: string;
beforeAll(async () => {
  controlPlane = await world.start(
    ...['--log-level', 'debug', '--svid-ttl', '2h', '--max-concurrent-attestations', '8'],
    ...['--max-requests-per-minute', '100000'],
  );
  token = await controlPlane.ask('token', '--pod', 'shop/web');
  client = new CertificateClient(controlPlane);
});
afterAll(async () => {
  client.close();
  await world.close();
});

/** Whatever was asked before: a good request is answered. */
afterEach(async () => {
  expect((await client.create(token, { csr: requestPem() })).refusal).toBeUndefined();
});

function leafOf({ chain, refusal }: Outcome): X509Certificate {
  expect(refusal).toBeUndefined();
  return new X509Certificate(chain[0] ?? '');
}

/** Hours, to the minute. */
function lifeOf(leaf: X509Certificate): number {
  return Math.round((leaf.validToDate.getTime() - Date.now()) / 60_000) / 60;
}

async function recorded(match: Record<string, unknown>): Promise<Record<string, unknown>> {
  return await waitFor(`an event ${JSON.stringify(match)}`, () =>
    controlPlane
      .audit()
      .findLast((event) => Object.entries(match).every(([name, value]) => event[name] === value)),
  );
}

describe('a certificate request', () => {
  it('is answered with leaf, intermediate and root, for its key and the proven identity', async () => {
    const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const outcome = await client.create(token, { csr: requestPem({ keys }), validityDuration: 3_600 });
    const leaf = leafOf(outcome);
    const [, , root] = outcome.chain;
    expect(outcome.chain).toHaveLength(3);
    expect(root).toBe(readFileSync(controlPlane.bundle, 'utf8'));
    expect(leaf.checkPrivateKey(keys.privateKey)).toBe(true);
    expect(lifeOf(leaf)).toBe(1);
    const trustDomain = TrustDomain.parse('cluster.local');
    const bundle = TrustBundle.of({
      trustDomain,
      x509Authorities: [new X509Certificate(root ?? '').raw],
      sequence: 1,
    });
    const chain = outcome.chain.slice(0, 2).map((one) => new X509Certificate(one).raw);
    expect(verifySvid({ chain, bundles: () => bundle, nowMs: Date.now() }).uri).toBe(webId);
  });

  it('is told in the audit stream and counted, as an SVID over SDS is', async () => {
    const leaf = leafOf(await client.create(token, { csr: requestPem() }));
    const event = await recorded({ event: 'svid.issued', serial: leaf.serialNumber.toLowerCase() });
    expect(event).toMatchObject({
      actor: 'shop/web',
      id: webId,
      digest: createHash('sha256').update(leaf.raw).digest('hex'),
      notAfter: leaf.validToDate.toISOString(),
      reason: 'request',
      peer: '127.0.0.1',
      tokenId: expect.stringMatching(/^[\w:.-]+$/u) as string,
      factors: ['token', 'pod', 'service-account', 'node', 'peer-address'].map((factor) => ({
        factor,
        outcome: 'passed',
      })),
    });
    expect(await controlPlane.metrics()).toMatch(
      /^countersign_svids_issued_total\{reason="request"\} [1-9]/mu,
    );
  });

  it('gets no name that it asks for', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const csr = await Pkcs10CertificateRequestGenerator.create({
      name: 'CN=admin, O=system:masters',
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new SubjectAlternativeNameExtension([
          { type: 'url', value: 'spiffe://cluster.local/ns/shop/sa/admin' },
          { type: 'dns', value: 'admin.shop.svc' },
          { type: 'ip', value: '10.0.0.1' },
        ]),
      ],
    });
    const leaf = leafOf(await client.create(token, { csr: csr.toString('pem') }));
    expect(leaf.subjectAltName).toBe(`URI:${webId}`);
    expect(leaf.subject).toMatch(/^OU=[0-9a-f]{16}\nUID=[0-9a-f-]{36}\ndnQualifier=\d{14}\.\d{3}Z$/u);
    expect(leaf.ca).toBe(false);
  });

  it.each([
    ['P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['RSA 2048', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ])('may have a key %s', async (_what, make) => {
    const keys = make();
    const leaf = leafOf(await client.create(token, { csr: requestPem({ keys }) }));
    expect(leaf.checkPrivateKey(keys.privateKey)).toBe(true);
  });

  it.each([
    ['RSA 1024', () => generateKeyPairSync('rsa', { modulusLength: 1024 }), /RSA key of 1024 bits .*2048/u],
    [
      'P-521',
      () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
      /secp521r1: ECDSA on P-256 or P-384/u,
    ],
    ['secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }), /secp256k1: ECDSA on P-256/u],
  ])('may not have a key %s', async (_what, make, message) => {
    const { refusal } = await client.create(token, { csr: requestPem({ keys: make() }) });
    expect(refusal).toMatch(/^INVALID_ARGUMENT: /u);
    expect(refusal).toMatch(message);
    expect(await recorded({ event: 'svid.refused' })).toMatchObject({
      actor: 'shop/web',
      id: webId,
      factor: 'csr',
      detail: expect.stringMatching(message) as string,
      leftOut: 0,
    });
  });

  it('that another key signed is refused', async () => {
    const signer = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    expect((await client.create(token, { csr: requestPem({ signer }) })).refusal).toMatch(
      /^INVALID_ARGUMENT: .*did not prove that it holds the private key/u,
    );
  });
});

describe('the PEM of a request', () => {
  it.each([
    ['CRLF', (csr: string) => csr.replaceAll('\n', '\r\n')],
    ['no newline at the end', (csr: string) => csr.trimEnd()],
    ['space around it', (csr: string) => `\n  ${csr}\n\n`],
    ['one long line', (csr: string) => csr.replaceAll(/(?<=[\w+/=])\n(?=[\w+/=])/gu, '')],
    ['the older label', (csr: string) => csr.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST')],
  ])('may have %s', async (_what, change) => {
    leafOf(await client.create(token, { csr: change(requestPem()) }));
  });

  it.each([
    ['nothing', () => ''],
    ['a text', () => 'sign this'],
    ['text after it', (csr: string) => `${csr}and more`],
    ['text before it', (csr: string) => `Certificate Request:\n${csr}`],
    ['two of them', (csr: string) => csr + requestPem()],
    ['a certificate', (csr: string) => csr.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE')],
    ['no end', (csr: string) => csr.slice(0, csr.indexOf('-----END'))],
    ['other bytes', () => pem(Buffer.from('sign this'))],
    ['bytes behind the request', (csr: string) => pem(Buffer.concat([derOf(csr), Buffer.of(0)]))],
    ['20 KiB of bytes', () => pem(Buffer.alloc(20 * 1024, 0x30))],
    ['40 KiB of text', () => ' '.repeat(40 * 1024)],
    ['a NUL', (csr: string) => csr.replace('\n', '\n\0')],
  ])('may not be %s', async (_what, change) => {
    expect((await client.create(token, { csr: change(requestPem()) })).refusal).toMatch(
      /^INVALID_ARGUMENT: The certificate request /u,
    );
  });

  it('may not make the message larger than any may be', async () => {
    const { refusal } = await client.create(token, { csr: 'x'.repeat(70_000) });
    expect(refusal).toMatch(/^RESOURCE_EXHAUSTED: .*65530/u);
  });
});

function derOf(csr: string): Buffer {
  return Buffer.from(csr.split('\n').slice(1, -2).join(''), 'base64');
}

describe('the validity asked for', () => {
  it.each([
    ['none', 0, 2],
    ['the least', 60, 1 / 60],
    ['less than --svid-ttl', 1_800, 0.5],
    ['a day, as agents do: cut to --svid-ttl', 86_400, 2],
  ])('%s', async (_what, validityDuration, hours) => {
    const leaf = leafOf(await client.create(token, { csr: requestPem(), validityDuration }));
    expect(lifeOf(leaf)).toBeCloseTo(hours, 1);
  });

  it.each([-1, -86_400, 1, 59, 86_401, 31_536_000, Number.MAX_SAFE_INTEGER])(
    '%d s is refused, with what is allowed',
    async (validityDuration) => {
      expect((await client.create(token, { csr: requestPem(), validityDuration })).refusal).toBe(
        `INVALID_ARGUMENT: validity_duration is ${validityDuration} s: 60 to 86400 s may be asked for, or 0 for the mesh's 7200 s, which is also the most that is given`,
      );
    },
  );
});

describe('the metadata of a request', () => {
  const withField = (name: string, stringValue: string): object => ({ fields: { [name]: { stringValue } } });

  it.each(['ImpersonatedIdentity', 'CertSigner'])('may not ask for another: %s', async (name) => {
    const metadata = withField(name, 'spiffe://cluster.local/ns/shop/sa/admin');
    expect((await client.create(token, { csr: requestPem(), metadata })).refusal).toMatch(
      new RegExp(`^INVALID_ARGUMENT: the request's metadata has ${name}: `, 'u'),
    );
  });

  it('is not looked at otherwise', async () => {
    for (const metadata of [withField('CertSigner', ''), withField('ClusterID', 'Kubernetes')]) {
      leafOf(await client.create(token, { csr: requestPem(), metadata }));
    }
  });
});

describe('the caller', () => {
  const tokenRefused = 'UNAUTHENTICATED: not attested: the token was refused';
  const refusalOf = async (shown: string | undefined): Promise<string | undefined> =>
    (await client.create(shown, { csr: requestPem() })).refusal;

  it('must show a token', async () => {
    expect(await refusalOf(undefined)).toBe(tokenRefused);
    expect(await refusalOf('garbage')).toBe(tokenRefused);
    expect(await refusalOf(unsigned(token))).toBe(tokenRefused);
    expect(await refusalOf('x'.repeat(9_000))).toBe(tokenRefused);
  });

  it.each([
    ['expired', (claims: object) => ({ ...claims, iat: 0, nbf: 0, exp: 1 })],
    ['for another audience', (claims: object) => ({ ...claims, aud: 'istio-ca' })],
    ['of another issuer', (claims: object) => ({ ...claims, iss: 'https://elsewhere.example' })],
  ])('may not show one that is %s', async (_what, change) => {
    expect(await refusalOf(await altered(token, issuerKey(world.dataDir), change))).toBe(tokenRefused);
  });

  it('may not show one that a stranger signed', async () => {
    expect(await refusalOf(await altered(token, strangersKey(), (claims) => claims))).toBe(tokenRefused);
    expect(await recorded({ event: 'workload.refused' })).toMatchObject({
      actor: 'unknown',
      peer: '127.0.0.1',
      factor: 'token',
    });
  });

  it('learns nothing of its request before it is proven', async () => {
    expect((await client.createFrom('garbage', Buffer.from('ff', 'hex'))).refusal).toBe(tokenRefused);
    expect((await client.createFrom(token, Buffer.from('ff', 'hex'))).refusal).toBe(
      'INVALID_ARGUMENT: the request is not an IstioCertificateRequest',
    );
  });

  it('gets nothing once its pod is gone, though its token lives', async () => {
    const gone = await controlPlane.ask('token', '--pod', 'shop/gone');
    expect(await refusalOf(gone)).toBeUndefined();
    world.removePod('shop/gone');
    const refusal = await waitFor('the refusal', async () => await refusalOf(gone));
    expect(refusal).toBe('PERMISSION_DENIED: not attested: the pod was refused');
    expect(await recorded({ event: 'workload.refused', factor: 'pod' })).toMatchObject({
      actor: 'shop/gone',
      detail: 'pod shop/gone does not exist',
    });
  });
});

describe('a flood', () => {
  it('of callers is bounded: each gets a certificate or is told to try again', async () => {
    const key = issuerKey(world.dataDir);
    const csr = requestPem();
    // Each has a token of its own, which takes time to verify.
    const tokens = await Promise.all(
      Array.from({ length: 200 }, async (_, at) =>
        altered(token, key, (claims) => ({ ...claims, jti: `flood-${at}` })),
      ),
    );
    const outcomes = await Promise.all(tokens.map(async (one) => await client.create(one, { csr })));
    const refusals = outcomes.map(({ refusal }) => refusal ?? 'issued');
    expect(new Set(refusals)).toEqual(
      new Set(['issued', 'RESOURCE_EXHAUSTED: too many callers at once; try again']),
    );
  });

  it('of bad requests is counted, and few events are written', async () => {
    const before = controlPlane.audit().length;
    const count = 300;
    for (let at = 0; at < count; at += 1) {
      expect((await client.create(token, { csr: 'x' })).refusal).toMatch(/^INVALID_ARGUMENT/u);
    }
    const events = await waitFor('all to be counted', () => {
      const own = controlPlane
        .audit()
        .slice(before)
        .filter(({ event }) => event === 'svid.refused');
      return own.reduce((sum, { leftOut }) => sum + 1 + Number(leftOut), 0) >= count ? own : undefined;
    });
    expect(events.length).toBeLessThan(count / 4);
  });
});

it('of a pod in quarantine are refused, with the name of the entry', async () => {
  const { added } = JSON.parse(
    await controlPlane.ask('quarantine add', '--pod', 'shop/web', '--reason', 'stolen', '-o', 'json'),
  ) as { added: string };
  const { refusal } = await client.create(token, { csr: requestPem() });
  await controlPlane.ask('quarantine remove', added);
  expect(refusal).toBe(`PERMISSION_DENIED: not attested: in quarantine (${added})`);
  const event = await recorded({ event: 'workload.refused', factor: 'quarantine' });
  expect(event).toMatchObject({ actor: 'shop/web' });
});

it('neither token nor request is in any output, at debug level', async () => {
  const csr = requestPem();
  await client.create(token, { csr });
  await client.create('a-token-that-is-none', { csr });
  await client.create(token, { csr: csr.replace('-----END', 'A-----END') });
  const output =
    controlPlane.log + readFileSync(controlPlane.auditLog, 'utf8') + (await controlPlane.metrics());
  expect(output).toContain('"level":"debug"');
  const [, claims = '', signature = ''] = token.split('.');
  for (const secret of [token, claims, signature, 'a-token-that-is-none', csr.split('\n')[1] ?? '']) {
    expect(secret.length).toBeGreaterThan(15);
    expect(output.includes(secret)).toBe(false);
  }
});
