import { createHash, createPrivateKey, createPublicKey, generateKeyPair, randomUUID } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { exportJWK, SignJWT } from 'jose';
import type { JSONWebKeySet, JWK } from 'jose';
import type { Pod, ServiceAccount } from '../mesh/index.ts';
import { AttestationError } from './errors.ts';
import { createSecretFile, readSecretFile } from './secret-file.ts';

export interface TokenRequest {
  readonly pod: Pod;
  /** The one that the pod runs as. */
  readonly serviceAccount: ServiceAccount;
  readonly audience: string;
  /** Whole seconds. */
  readonly ttlSeconds: number;
}

const FILE_NAME = 'token-issuer.json';
const MAX_TTL_SECONDS = 2 ** 32;

/** Signs projected service account tokens where there is no API server: same format, same algorithm, a key of its own. */
export class LocalIssuer {
  readonly issuer: string;
  readonly #key: IssuerKey;
  readonly #publicKeys: JSONWebKeySet;
  readonly #nowMs: () => number;

  private constructor(key: IssuerKey, issuer: string, nowMs: () => number) {
    this.issuer = issuer;
    this.#key = key;
    this.#publicKeys = { keys: [key.publicJwk] };
    this.#nowMs = nowMs;
  }

  /**
   * Reads the key in `directory`, or makes it at the first start. Two processes that start at once get the same key.
   * @throws AttestationError ISSUER_KEY_*: never a new key in place of one that cannot be read, as that would
   * silently end every token given out
   */
  static async open(options: {
    directory: string;
    issuer: string;
    nowMs: () => number;
  }): Promise<LocalIssuer> {
    if (options.issuer === '')
      throw new AttestationError('CONFIGURATION', 'The token issuer is empty: name one.');
    const file = join(options.directory, FILE_NAME);
    const text = (await readSecretFile(file)) ?? (await createSecretFile(file, await newKeyText()));
    return new LocalIssuer(await issuerKey(parseKey(file, text)), options.issuer, options.nowMs);
  }

  /** The public half: what tokens are verified with. The same value at each call. */
  jwks(): JSONWebKeySet {
    return this.#publicKeys;
  }

  /**
   * A token bound to the pod, its service account and its node.
   * @throws AttestationError TOKEN_REQUEST: the pod does not run as that account, or the lifetime is out of bounds
   */
  async issue(request: TokenRequest): Promise<string> {
    const { pod, serviceAccount, audience, ttlSeconds } = request;
    if (pod.namespace !== serviceAccount.namespace || pod.serviceAccount !== serviceAccount.name) {
      throw new AttestationError(
        'TOKEN_REQUEST',
        `Pod ${pod.namespace}/${pod.name} runs as ${pod.serviceAccount}, not as ${serviceAccount.namespace}/${serviceAccount.name}: it gets no token of another's.`,
      );
    }
    if (audience === '') throw new AttestationError('TOKEN_REQUEST', 'The audience is empty: name one.');
    if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > MAX_TTL_SECONDS) {
      throw new AttestationError(
        'TOKEN_REQUEST',
        `A token cannot live ${ttlSeconds} seconds: whole seconds from 1 to ${MAX_TTL_SECONDS} are allowed.`,
      );
    }
    const now = Math.floor(this.#nowMs() / 1000);
    const claims = {
      aud: [audience],
      exp: now + ttlSeconds,
      iat: now,
      iss: this.issuer,
      jti: randomUUID(),
      'kubernetes.io': {
        namespace: pod.namespace,
        ...(pod.nodeName === '' ? {} : { node: { name: pod.nodeName } }),
        pod: { name: pod.name, uid: pod.uid },
        serviceaccount: { name: serviceAccount.name, uid: serviceAccount.uid },
      },
      nbf: now,
      sub: `system:serviceaccount:${pod.namespace}:${serviceAccount.name}`,
    };
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: this.#key.id })
      .sign(this.#key.privateKey);
  }
}

interface IssuerKey {
  /** As the API server names its keys: the hash of the public key. */
  readonly id: string;
  readonly privateKey: KeyObject;
  readonly publicJwk: JWK;
}

async function issuerKey(privateKey: KeyObject): Promise<IssuerKey> {
  const publicKey = createPublicKey(privateKey);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const id = createHash('sha256').update(spki).digest('base64url');
  return {
    id,
    privateKey,
    publicJwk: { ...(await exportJWK(publicKey)), use: 'sig', kid: id, alg: 'RS256' },
  };
}

async function newKeyText(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return `${JSON.stringify({ version: 1, privateKey: privateKey.export({ format: 'jwk' }) })}\n`;
}

function parseKey(file: string, text: string): KeyObject {
  const corrupted = (found: string): AttestationError =>
    new AttestationError(
      'ISSUER_KEY_CORRUPTED',
      `${file} is no token issuer key (${found}). Restore it from a backup; or delete it for a new key, after which every token given out so far is refused.`,
    );
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, and the text is a key.
    throw corrupted('not JSON');
  }
  if (!isRecord(content) || content['version'] !== 1 || !isRecord(content['privateKey'])) {
    throw corrupted('`version` 1 and `privateKey` are expected');
  }
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: content['privateKey'], format: 'jwk' });
  } catch {
    throw corrupted('`privateKey` is no JWK of a private key');
  }
  if (key.asymmetricKeyType !== 'rsa' || (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) {
    throw corrupted('an RSA key of at least 2048 bits is expected');
  }
  return key;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
