import { createHmac, randomBytes } from 'node:crypto';
import { JWT_METADATA } from '../../../src/policy/index.ts';
import type { JsonObject } from '../../../src/proxy/index.ts';

/** Carries a token; policies never name it. */
export const TOKEN_HEADER = 'x-equality-token';

const key = randomBytes(32);
const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64url');

/** A token that Envoy finds valid. */
export function token(claims: Readonly<Record<string, unknown>>): string {
  const text = `${base64('{"alg":"HS256"}')}.${base64(JSON.stringify(claims))}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

/** Envoy's filter that verifies tokens, in front of those that judge: it leaves the payload where rules look for it. */
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
