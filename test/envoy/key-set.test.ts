import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseKeySet } from '../../src/jwks/key-set.ts';
import { envoyPath } from '../harness/paths.ts';
import { run } from '../harness/process.ts';

const v3 = 'type.googleapis.com/envoy.extensions.filters.';
const rsa = (publicExponent: number): object =>
  generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent }).publicKey.export({ format: 'jwk' });
const ec = (namedCurve: string): object =>
  generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' });
const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-keys-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Each set is a provider of its own: Envoy takes no provider whose set has no key that it can use. */
async function validate(
  sets: Readonly<Record<string, string>>,
): Promise<{ code: number | null; said: string }> {
  const providers = Object.fromEntries(
    Object.entries(sets).map(([name, text]) => [
      name,
      { issuer: name, local_jwks: { inline_string: text }, payload_in_metadata: name },
    ]),
  );
  const http_filters = [
    {
      name: 'jwt',
      typed_config: { '@type': `${v3}http.jwt_authn.v3.JwtAuthentication`, providers },
    },
    { name: 'router', typed_config: { '@type': `${v3}http.router.v3.Router` } },
  ];
  const manager = {
    '@type': `${v3}network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'test',
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'] }] },
    http_filters,
  };
  const listener = {
    name: 'test',
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
  };
  const file = join(folder, 'envoy.json');
  await writeFile(file, JSON.stringify({ static_resources: { listeners: [listener] } }));
  const baseId = String(process.pid * 100);
  const { code, stderr } = await run(envoyPath(), ['--mode', 'validate', '-c', file, '--base-id', baseId]);
  return { code, said: stderr };
}

describe('a key set, read by the real Envoy', () => {
  it('has each kind of key in a form that Envoy takes', async () => {
    const keys = {
      rsa: rsa(65_537),
      'rsa with the exponent 3': rsa(3),
      pss: { ...rsa(65_537), alg: 'PS512' },
      p256: ec('P-256'),
      p384: { ...ec('P-384'), alg: 'ES384' },
      p521: ec('P-521'),
      ed25519,
      kid: { ...ed25519, kid: '"\\\u0000\u202e\u{1f511}' },
    };
    const sets = Object.entries(keys).map(([name, key]) => {
      return [name, parseKeySet(Buffer.from(JSON.stringify({ keys: [key] }))).text];
    });
    expect(await validate(Object.fromEntries(sets))).toMatchObject({ code: 0 });
  });

  it.each([
    ['an exponent that is rare', rsa(17)],
    ['the algorithm of another curve', { ...ec('P-256'), alg: 'ES384' }],
    ['half a character as kid', { ...ed25519, kid: '\ud800' }],
  ])('would be refused with %s, as here', async (_name, key) => {
    const text = JSON.stringify({ keys: [key] });
    expect(() => parseKeySet(Buffer.from(text))).toThrow(/no usable key/u);
    const { code, said } = await validate({ bad: text });
    expect(code).not.toBe(0);
    expect(said).toMatch(/invalid local jwks/iu);
  });
});
