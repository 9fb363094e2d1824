import { createPublicKey, type KeyObject } from 'node:crypto';

/** Usable public keys of a JWK Set. */
export interface KeySet {
  /** RFC 7517 section 5 in one canonical form: sets of equal meaning are equal texts. */
  readonly text: string;
  readonly keys: number;
  /** Which keys have a secret part, and which are left out and why: by their place, never by their content. */
  readonly secrets: readonly string[];
  readonly unused: readonly string[];
}

export type ReadKeySet =
  | ({ readonly ok: true } & KeySet)
  /** `fault`: in words that complete "it ...", without anything of the document. */
  | { readonly ok: false; readonly code: 'malformed' | 'no-usable-key'; readonly fault: string };

type Members = Readonly<Record<string, unknown>>;

/** Envoy tries each key on a token that names none. */
const MAX_KEYS = 100;
const MAX_KID_LENGTH = 1024;
/** BoringSSL, which Envoy verifies with, takes no longer ones. */
const RSA_BITS = { least: 2048, most: 8192 };
const RSA_ALGORITHMS: ReadonlySet<string> = new Set(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']);
const EC_ALGORITHMS: ReadonlyMap<unknown, string> = new Map([
  ['P-256', 'ES256'],
  ['P-384', 'ES384'],
  ['P-521', 'ES512'],
]);
/** RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1. */
const PRIVATE_MEMBERS: readonly string[] = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
const BASE64URL = /^[A-Za-z0-9_-]+$/u;

/**
 * Takes the keys that verify signatures in Envoy's jwt_authn, their public members alone. A key that is of no use is
 * left out (RFC 7517 section 5): Envoy would refuse a whole filter for one that it cannot read. A set without any
 * useful key is refused. Never throws.
 */
export function readKeySet(text: string): ReadKeySet {
  const keys = keysOf(text);
  if (typeof keys === 'string') return { ok: false, code: 'malformed', fault: keys };
  const texts = new Set<string>();
  const secrets: string[] = [];
  const unused: string[] = [];
  for (const [index, key] of keys.entries()) {
    if (isRecord(key) && (key['kty'] === 'oct' || PRIVATE_MEMBERS.some((name) => Object.hasOwn(key, name)))) {
      secrets.push(`keys[${index}]`);
    }
    const read = isRecord(key) ? readKey(key) : 'it is no object';
    if (typeof read === 'string') unused.push(`keys[${index}]: ${read}`);
    else texts.add(JSON.stringify(read));
  }
  if (texts.size === 0) {
    const found = unused.length === 0 ? 'it is empty' : few(unused).join('; ');
    return { ok: false, code: 'no-usable-key', fault: `has no usable key: ${found}. ${ALLOWED}` };
  }
  return {
    ok: true,
    text: `{"keys":[${[...texts].toSorted().join(',')}]}`,
    keys: texts.size,
    secrets: few(secrets),
    unused: few(unused),
  };
}

const ALLOWED = `RSA of ${RSA_BITS.least} to ${RSA_BITS.most} bits, EC on P-256, P-384 or P-521, and Ed25519 are allowed`;

/** A text: what is wrong. */
function keysOf(text: string): readonly unknown[] | string {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser quotes what it could not read.
    return 'is no JSON: a JWK Set (RFC 7517) is expected';
  }
  const keys: unknown = isRecord(document) ? document['keys'] : undefined;
  if (!Array.isArray(keys)) return 'has no array `keys`: a JWK Set (RFC 7517) is expected';
  if (keys.length > MAX_KEYS) return `has ${keys.length} keys: at most ${MAX_KEYS} are allowed`;
  return keys;
}

/** @returns the canonical key; a text: why it is of no use */
function readKey(key: Members): Members | string {
  const use = key['use'];
  if (use !== undefined && use !== 'sig') return '`use` is not `sig`';
  const operations = key['key_ops'];
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return '`key_ops` lacks `verify`';
  }
  const kid = key['kid'];
  // Half a surrogate pair is no text to Envoy, which would then refuse the whole set.
  if (kid !== undefined && !(typeof kid === 'string' && kid.isWellFormed() && kid.length <= MAX_KID_LENGTH)) {
    return `\`kid\` is no text of at most ${MAX_KID_LENGTH} characters`;
  }
  const alg = key['alg'];
  if (alg !== undefined && typeof alg !== 'string') return '`alg` is no text';
  const members = publicMembers(key, alg);
  if (typeof members === 'string') return members;
  return { ...(kid === undefined ? {} : { kid }), ...(alg === undefined ? {} : { alg }), ...members };
}

function publicMembers(key: Members, alg: string | undefined): Members | string {
  const curve = key['crv'];
  switch (key['kty']) {
    case 'RSA':
      if (alg !== undefined && !RSA_ALGORITHMS.has(alg)) return '`alg` is no signature of RSA';
      return rsa(key);
    case 'EC': {
      const fitting = EC_ALGORITHMS.get(curve);
      if (fitting === undefined) return '`crv` is not P-256, P-384 or P-521';
      if (alg !== undefined && alg !== fitting) return `\`alg\` is not ${fitting}`;
      return imported(key, ['kty', 'crv', 'x', 'y'])?.members ?? 'no point of its curve';
    }
    case 'OKP':
      if (curve !== 'Ed25519') return '`crv` is not Ed25519';
      if (alg !== undefined && alg !== 'EdDSA') return '`alg` is not EdDSA';
      return imported(key, ['kty', 'crv', 'x'])?.members ?? 'no key of Ed25519';
    case 'oct':
      return 'a symmetric key is no public key';
    default:
      return '`kty` is not RSA, EC or OKP';
  }
}

function rsa(key: Members): Members | string {
  const read = imported(key, ['kty', 'n', 'e']);
  if (read === undefined) return 'no key of RSA';
  const { modulusLength = 0, publicExponent } = read.key.asymmetricKeyDetails ?? {};
  if (modulusLength < RSA_BITS.least || modulusLength > RSA_BITS.most) return `RSA of ${modulusLength} bits`;
  if (publicExponent !== 3n && publicExponent !== 65_537n) return '`e` is not 65537 or 3';
  const modulus = Buffer.from(String(read.members['n']), 'base64url');
  return (modulus.at(-1) ?? 0) % 2 === 1 ? read.members : '`n` is even';
}

/** Only the named members, as OpenSSL reads and writes them: one text for one key. */
function imported(
  key: Members,
  names: readonly string[],
): { readonly key: KeyObject; readonly members: Members } | undefined {
  const jwk = Object.fromEntries(names.map((name) => [name, key[name]]));
  const encoded = Object.entries(jwk).filter(([name]) => name !== 'kty' && name !== 'crv');
  if (!encoded.every(([, value]) => typeof value === 'string' && BASE64URL.test(value))) return undefined;
  try {
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
    const exported = publicKey.export({ format: 'jwk' }) as Members;
    return { key: publicKey, members: Object.fromEntries(names.map((name) => [name, exported[name]])) };
  } catch {
    // Whatever OpenSSL finds wrong: it is not a key of the kind it says.
    return undefined;
  }
}

/** A set of a hundred bad keys needs no hundred lines. */
function few(lines: readonly string[]): readonly string[] {
  const most = 5;
  return lines.length <= most ? lines : [...lines.slice(0, most), `and ${lines.length - most} more`];
}

function isRecord(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
