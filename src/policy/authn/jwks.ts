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
/** RFC 7518 section 3.3. Bits. */
const MIN_RSA_BITS = 2048;

/** By `kty`: the public members (RFC 7518 section 6, RFC 8037) and the algorithms that Envoy verifies with them. */
const KINDS: ReadonlyMap<unknown, { readonly members: readonly string[]; readonly alg: RegExp }> = new Map([
  ['RSA', { members: ['n', 'e'], alg: /^[RP]S(256|384|512)$/ }],
  ['EC', { members: ['crv', 'x', 'y'], alg: /^ES(256|384|512)$/ }],
  ['OKP', { members: ['crv', 'x'], alg: /^EdDSA$/ }],
]);
const CURVES: ReadonlySet<unknown> = new Set(['P-256', 'P-384', 'P-521', 'Ed25519']);

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
    if (isFields(key) && (Object.hasOwn(key, 'd') || Object.hasOwn(key, 'k') || key['kty'] === 'oct')) {
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
      `has no usable key among ${keys.length}: expected an RSA key of at least ${MIN_RSA_BITS} bits, EC on P-256, P-384 or P-521, or OKP on Ed25519, for signatures`,
    );
  return { ok: true, jwks: `{"keys":[${[...new Set(usable)].toSorted().join(',')}]}`, left };
}

/** A key in canonical form; undefined: of no use. */
function publicKey(key: Fields): string | undefined {
  const kind = KINDS.get(key['kty']);
  if (kind === undefined) return undefined;
  const { alg, kid, use, key_ops: operations } = key;
  if (alg !== undefined && !(typeof alg === 'string' && kind.alg.test(alg))) return undefined;
  if (kid !== undefined && typeof kid !== 'string') return undefined;
  if (use !== undefined && use !== 'sig') return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return undefined;
  if (key['kty'] !== 'RSA' && !CURVES.has(key['crv'])) return undefined;
  const members = Object.fromEntries(kind.members.map((name) => [name, key[name]]));
  const jwk = { kty: String(key['kty']), ...members };
  try {
    const { modulusLength = MIN_RSA_BITS } =
      createPublicKey({ key: jwk, format: 'jwk' }).asymmetricKeyDetails ?? {};
    if (modulusLength < MIN_RSA_BITS) return undefined;
  } catch {
    // What is no key on its curve is just as useless as one of an unknown kind; the caller counts it.
    return undefined;
  }
  return JSON.stringify({ ...(kid !== undefined && { kid }), ...(alg !== undefined && { alg }), ...jwk });
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
