import { createPublicKey } from 'node:crypto';
import { isFields, type Fields } from '../shape.ts';

export type ReadJwks =
  /** `left`: how many keys of it are of no use for verifying tokens, and were left out. */
  | { readonly ok: true; readonly jwks: string; readonly left: number }
  /** In words, without anything of the document. */
  | { readonly ok: false; readonly fault: string };

/** Characters. */
const MAX_LENGTH = 256 * 1024;
const MAX_KEYS = 128;
const MAX_KID_LENGTH = 1024;
/** RFC 7518 section 3.3; BoringSSL, which Envoy verifies with, takes no longer ones. */
const RSA_BITS = { least: 2048, most: 8192 };
/** RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1. */
const SECRET: readonly string[] = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** By `kty` and `crv`: the public members (RFC 7518 section 6, RFC 8037) and the algorithms that Envoy verifies with them. */
const KINDS: ReadonlyMap<string, { readonly members: readonly string[]; readonly alg: RegExp }> = new Map([
  ['RSA', { members: ['kty', 'n', 'e'], alg: /^[RP]S(256|384|512)$/ }],
  ['EC P-256', { members: ['kty', 'crv', 'x', 'y'], alg: /^ES256$/ }],
  ['EC P-384', { members: ['kty', 'crv', 'x', 'y'], alg: /^ES384$/ }],
  ['EC P-521', { members: ['kty', 'crv', 'x', 'y'], alg: /^ES512$/ }],
  ['OKP Ed25519', { members: ['kty', 'crv', 'x'], alg: /^EdDSA$/ }],
]);

/**
 * Checks a JWK Set (RFC 7517 section 5) and writes it in one canonical form: public members alone, keys in one order.
 * A private or symmetric key in it refuses the whole set: whoever reads it could sign tokens.
 */
export function readJwks(text: string): ReadJwks {
  if (text.length > MAX_LENGTH)
    return refused(`has ${text.length} characters; a JWKS may have at most ${MAX_LENGTH}`);
  const document = parsed(text);
  const keys = isFields(document) ? document['keys'] : undefined;
  if (!Array.isArray(keys)) return refused('is no JWKS: expected a JSON object {"keys": [...]}');
  if (keys.length > MAX_KEYS) return refused(`has ${keys.length} keys; at most ${MAX_KEYS}`);
  const usable: string[] = [];
  for (const [index, key] of keys.entries()) {
    if (isFields(key) && (SECRET.some((name) => Object.hasOwn(key, name)) || key['kty'] === 'oct')) {
      const kind = key['kty'] === 'oct' || Object.hasOwn(key, 'k') ? 'symmetric' : 'private';
      return refused(
        `holds a ${kind} key (keys[${index}]): whoever reads it can sign tokens; replace that key at its issuer and write public keys alone`,
      );
    }
    const canonical = isFields(key) ? publicKey(key) : undefined;
    if (canonical !== undefined) usable.push(canonical);
  }
  const left = keys.length - usable.length;
  if (usable.length === 0)
    return refused(
      `has no usable key among ${keys.length}: expected an RSA key of ${RSA_BITS.least} to ${RSA_BITS.most} bits, EC on P-256, P-384 or P-521, or OKP on Ed25519, for signatures`,
    );
  return { ok: true, jwks: `{"keys":[${[...new Set(usable)].toSorted().join(',')}]}`, left };
}

/** A key in canonical form; undefined: of no use. Envoy refuses a whole filter for a set that it cannot read. */
function publicKey(key: Fields): string | undefined {
  const { kty, crv, alg, kid, use, key_ops: operations } = key;
  const kind = KINDS.get(kty === 'RSA' ? kty : `${String(kty)} ${String(crv)}`);
  if (kind === undefined) return undefined;
  if (alg !== undefined && !(typeof alg === 'string' && kind.alg.test(alg))) return undefined;
  if (kid !== undefined && !(typeof kid === 'string' && kid.isWellFormed() && kid.length <= MAX_KID_LENGTH))
    return undefined;
  if (use !== undefined && use !== 'sig') return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return undefined;
  const members = imported(Object.fromEntries(kind.members.map((name) => [name, key[name]])));
  if (members === undefined) return undefined;
  return JSON.stringify({ ...(kid !== undefined && { kid }), ...(alg !== undefined && { alg }), ...members });
}

/** As OpenSSL writes it: one text for one key. undefined: it is none, or a weak one. */
function imported(jwk: Fields): Fields | undefined {
  const encoded = Object.entries(jwk).filter(([name]) => name !== 'kty' && name !== 'crv');
  if (!encoded.every(([, value]) => typeof value === 'string' && BASE64URL.test(value))) return undefined;
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    const exported: Fields = { ...key.export({ format: 'jwk' }) };
    if (jwk['kty'] === 'RSA') {
      const { modulusLength = 0, publicExponent } = key.asymmetricKeyDetails ?? {};
      if (modulusLength < RSA_BITS.least || modulusLength > RSA_BITS.most) return undefined;
      if (publicExponent !== 3n && publicExponent !== 65_537n) return undefined;
      if ((Buffer.from(String(exported['n']), 'base64url').at(-1) ?? 0) % 2 === 0) return undefined;
    }
    return Object.fromEntries(Object.keys(jwk).map((name) => [name, exported[name]]));
  } catch {
    // What is no key on its curve is just as useless as one of an unknown kind; the caller counts it.
    return undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // JSON.parse would quote the text in its message; the caller says that it is no JWKS.
    return undefined;
  }
}

function refused(fault: string): ReadJwks {
  return { ok: false, fault };
}
