import { generateKeyPairSync } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LocalIssuer } from './index.ts';
import { AUDIENCE, ISSUER, newWorld, START_MS, WEB, WEB_ACCOUNT } from './testing/world.ts';

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-issuer-'));
  file = join(directory, 'token-issuer.json');
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

function open(): Promise<LocalIssuer> {
  return LocalIssuer.open({ directory, issuer: ISSUER, nowMs: () => START_MS });
}

const REQUEST = { pod: WEB, serviceAccount: WEB_ACCOUNT, audience: AUDIENCE, ttlSeconds: 3600 };

describe('issue', () => {
  it('writes tokens as the API server does', async () => {
    const issuer = await open();
    const token = await issuer.issue(REQUEST);
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'RS256', kid: issuer.jwks().keys[0]?.kid });
    expect(decodeJwt(token)).toEqual({
      aud: ['countersign'],
      exp: START_MS / 1000 + 3600,
      iat: START_MS / 1000,
      iss: ISSUER,
      jti: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
      'kubernetes.io': {
        namespace: 'shop',
        node: { name: 'node-a' },
        pod: { name: 'web-1', uid: WEB.uid },
        serviceaccount: { name: 'web', uid: WEB_ACCOUNT.uid },
      },
      nbf: START_MS / 1000,
      sub: 'system:serviceaccount:shop:web',
    });
  });

  it('writes tokens that are attested, by the published keys', async () => {
    const issuer = await open();
    const world = await newWorld({ jwks: () => issuer.jwks() });
    const verdict = await world.attestor.attest(await issuer.issue(REQUEST), { address: undefined });
    expect(verdict.ok).toBe(true);
  });

  it('publishes nothing of the private key', async () => {
    const issuer = await open();
    expect(Object.keys(issuer.jwks().keys[0] ?? {}).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
    expect(JSON.stringify(issuer)).not.toContain('"d"');
  });

  it.each([
    [
      { ...REQUEST, serviceAccount: { ...WEB_ACCOUNT, name: 'payments' } },
      /runs as web, not as shop\/payments/,
    ],
    [{ ...REQUEST, serviceAccount: { ...WEB_ACCOUNT, namespace: 'bank' } }, /not as bank\/web/],
    [{ ...REQUEST, audience: '' }, /audience is empty/],
    [{ ...REQUEST, ttlSeconds: 0 }, /cannot live 0 seconds/],
    [{ ...REQUEST, ttlSeconds: 1.5 }, /whole seconds/],
    [{ ...REQUEST, ttlSeconds: Number.NaN }, /cannot live NaN seconds/],
  ])('refuses what no API server would sign (%#)', async (request, message) => {
    const issuer = await open();
    await expect(issuer.issue(request)).rejects.toThrow(
      expect.objectContaining({ code: 'TOKEN_REQUEST', message: expect.stringMatching(message) }),
    );
  });
});

describe('the key file', () => {
  it('is made once, for its owner alone, and read ever after', async () => {
    const first = await open();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const second = await open();
    expect(second.jwks()).toEqual(first.jwks());
    expect(await readdir(directory)).toEqual(['token-issuer.json']);
  });

  it('is the same for processes that start at once', async () => {
    const issuers = await Promise.all([open(), open(), open()]);
    expect(new Set(issuers.map((issuer) => issuer.jwks().keys[0]?.kid)).size).toBe(1);
    expect(await readdir(directory)).toEqual(['token-issuer.json']);
  });

  it('makes its directory, closed to others', async () => {
    directory = join(directory, 'data');
    await open();
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    directory = join(directory, '..');
  });

  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ format: 'jwk' });
  const curve = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  it.each([
    ['empty', '', /not JSON/],
    ['cut short', '{"version":1,"privateKey":{"kty":"RSA","n":"secret-part', /not JSON/],
    ['of another version', '{"version":2,"privateKey":{}}', /`version` 1/],
    ['without a key', '{"version":1,"privateKey":{"kty":"RSA"}}', /no JWK of a private key/],
    ['a list', '[]', /`version` 1/],
    ['of a weak key', JSON.stringify({ version: 1, privateKey: weak }), /at least 2048 bits/],
    ['of another kind of key', JSON.stringify({ version: 1, privateKey: curve }), /RSA key/],
  ])(
    'that is %s is refused and left alone; the message says what to do and quotes nothing',
    async (_, text, found) => {
      await writeFile(file, text, { mode: 0o600 });
      const failure: unknown = await open().catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'ISSUER_KEY_CORRUPTED', message: expect.stringMatching(found) });
      expect(String(failure)).toContain(file);
      expect(String(failure)).toContain('delete it for a new key');
      expect(String(failure)).not.toContain('secret-part');
      expect(await readFile(file, 'utf8')).toBe(text);
    },
  );

  it('that others can read is refused, with the command that helps', async () => {
    await open();
    await chmod(file, 0o640);
    await expect(open()).rejects.toMatchObject({
      code: 'ISSUER_KEY_TOO_OPEN',
      message: expect.stringContaining(`chmod 600 ${file}`),
    });
  });

  it('that cannot be read or made is named', async () => {
    await writeFile(join(directory, 'plain'), '');
    directory = join(directory, 'plain');
    const failure: unknown = await open().catch((error: unknown) => error);
    directory = join(directory, '..');
    expect(failure).toMatchObject({
      code: 'ISSUER_KEY_UNREADABLE',
      message: expect.stringContaining('ENOTDIR'),
    });
  });

  it('needs an issuer', async () => {
    await expect(LocalIssuer.open({ directory, issuer: '', nowMs: () => 0 })).rejects.toMatchObject({
      code: 'CONFIGURATION',
    });
  });
});
