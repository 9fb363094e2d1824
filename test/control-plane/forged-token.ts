import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader, SignJWT, type JWTPayload } from 'jose';

/** The key that the control plane of this data directory signs tokens with. */
export function issuerKey(dataDir: string): KeyObject {
  const { privateKey } = JSON.parse(readFileSync(join(dataDir, 'token-issuer.json'), 'utf8')) as {
    privateKey: Record<string, string>;
  };
  return createPrivateKey({ key: privateKey, format: 'jwk' });
}

/** A genuine token with other claims, signed again. */
export async function altered(
  token: string,
  key: KeyObject,
  change: (claims: JWTPayload) => JWTPayload,
): Promise<string> {
  const { kid = '' } = decodeProtectedHeader(token);
  return await new SignJWT(change(decodeJwt(token))).setProtectedHeader({ alg: 'RS256', kid }).sign(key);
}

/** The same claims under `alg: none`. */
export function unsigned(token: string): string {
  const header = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
  return `${header}.${token.split('.')[1] ?? ''}.`;
}

export function strangersKey(): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
}
