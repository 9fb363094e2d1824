import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { JWT_METADATA } from '../../../src/policy/index.ts';
import type { JsonObject } from '../../../src/proxy/index.ts';
import type { Token } from '../case.ts';

/** Carries a token to sets that verify none themselves; policies never name it. */
export const TOKEN_HEADER = 'x-equality-token';

const HOUR = 3_600;
const key = randomBytes(32);
const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64url');

/** A token that Envoy finds valid, whatever it says. */
export function token(claims: Readonly<Record<string, unknown>>): string {
  const text = `${base64('{"alg":"HS256"}')}.${base64(JSON.stringify(claims))}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

const issuers = Array.from({ length: 2 }, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
const publicKeys = issuers.map(({ publicKey }) => publicKey.export({ format: 'jwk' }));

/** What `$KEYS0`, `$KEYS1` and `$KEYS2` stand for in documents: the first key, the second, both. JWKS as JSON. */
export const KEY_SETS: readonly string[] = [publicKeys.slice(0, 1), publicKeys.slice(1), publicKeys].map(
  (keys) => JSON.stringify({ keys }),
);

/** What tells a key apart in a JWKS. */
export function keyMark(index: number): string {
  return String(publicKeys[index]?.x);
}

const written = new Map<Token, string>();

/** A token as it is sent: the same text each time. */
export function tokenText(of: Token): string {
  const known = written.get(of);
  if (known !== undefined) return known;
  const now = Math.floor(Date.now() / 1_000);
  const times = { good: { exp: now + HOUR }, over: { exp: now - HOUR }, early: { nbf: now + HOUR } };
  const text = `${base64('{"alg":"ES256"}')}.${base64(JSON.stringify({ ...of.claims, ...times[of.time] }))}`;
  const issuer = issuers[of.key];
  if (issuer === undefined) throw new Error(`there is no key ${of.key}`);
  const signature = sign('sha256', Buffer.from(text), { key: issuer.privateKey, dsaEncoding: 'ieee-p1363' });
  const whole = `${text}.${signature.toString('base64url')}`;
  written.set(of, whole);
  return whole;
}

/** Envoy's filter that verifies {@link token}s: it leaves the payload where rules look for it. */
export const jwtFilter: JsonObject = {
  name: JWT_METADATA.filter,
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
    providers: {
      equality: {
        local_jwks: {
          inline_string: JSON.stringify({
            keys: [{ kty: 'oct', alg: 'HS256', k: key.toString('base64url') }],
          }),
        },
        from_headers: [{ name: TOKEN_HEADER }],
        payload_in_metadata: JWT_METADATA.payload,
      },
    },
    rules: [
      {
        match: { prefix: '/' },
        requires: { requires_any: { requirements: [{ provider_name: 'equality' }, { allow_missing: {} }] } },
      },
    ],
  },
};
