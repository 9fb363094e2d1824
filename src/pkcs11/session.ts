import { hash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { TokenError } from './errors.ts';
import { CKA, CKM, CKO, Pkcs11Module, ulong } from './module.ts';
import { pointOf } from './point.ts';
import type { TokenUri } from './uri.ts';

/** What is known of a key in a token. */
export interface TokenKeyInfo {
  /** Hex of DER SubjectPublicKeyInfo. */
  readonly publicKey: string;
  /** Where it is, for people. */
  readonly where: string;
}

const RSA = 0n;
const EC = 3n;

/** A session with a token in which one private key is used. Lives in a process of its own. */
export class TokenSession {
  readonly info: TokenKeyInfo;
  readonly #uri: TokenUri;
  readonly #module: Pkcs11Module;
  readonly #session: bigint;
  readonly #key: bigint;
  readonly #kind: bigint;
  readonly #hash: 'sha256' | 'sha384';

  /** @throws TokenError */
  constructor(uri: TokenUri) {
    this.#uri = uri;
    this.#module = new Pkcs11Module(uri.modulePath);
    const { slot, label } = this.#token(uri);
    this.#session = this.#module.openSession(
      slot,
      uri.pinFile === undefined ? undefined : readPin(uri.pinFile),
    );
    const name = [uri.object, uri.id && `id ${uri.id}`].filter((part) => part !== undefined).join(', ');
    const where = `the key ${JSON.stringify(name)} in the token ${JSON.stringify(label)}`;
    this.#key = this.#one(uri, CKO.privateKey, where);
    this.#refuseExposed(where);
    this.#kind = this.#number(this.#key, CKA.keyType);
    const publicKey = this.#publicKey(uri, where);
    this.#hash = publicKey.includes(P384) ? 'sha384' : 'sha256';
    this.info = { publicKey: publicKey.toString('hex'), where };
  }

  /** That token and key are still there; nothing is signed. @throws TokenError */
  check(): void {
    this.#token(this.#uri);
    this.#one(this.#uri, CKO.privateKey, this.info.where);
  }

  /** As certificates carry it; ECDSA as the two numbers that the token gives. */
  sign(data: Buffer): Buffer {
    if (this.#kind === RSA) return this.#module.sign(this.#session, this.#key, CKM.sha256RsaPkcs, data);
    const digest = hash(this.#hash, data, 'buffer');
    return this.#module.sign(this.#session, this.#key, CKM.ecdsa, digest);
  }

  #token({ token, serial, slotId, modulePath }: TokenUri): { readonly slot: bigint; readonly label: string } {
    const all = this.#module.tokens();
    const found = all.filter(
      (one) =>
        (token === undefined || one.label === token) &&
        (serial === undefined || one.serial === serial) &&
        (slotId === undefined || one.slot === BigInt(slotId)),
    );
    const [first] = found;
    if (first !== undefined && found.length === 1) return first;
    const labels = all.map(({ label }) => JSON.stringify(label)).join(', ') || 'none';
    throw new TokenError(
      'token-missing',
      `${found.length} tokens of ${modulePath} are meant, and it must be one. It has: ${labels}. Name one by token=, serial= or slot-id=.`,
    );
  }

  #one(uri: TokenUri, sort: bigint, where: string): bigint {
    const wanted = new Map<bigint, Buffer>([[CKA.class, ulong(sort)]]);
    if (uri.object !== undefined) wanted.set(CKA.label, Buffer.from(uri.object));
    if (uri.id !== undefined) wanted.set(CKA.id, Buffer.from(uri.id, 'hex'));
    const found = this.#module.find(this.#session, wanted);
    const [first] = found;
    if (first !== undefined && found.length === 1) return first;
    const what = sort === CKO.privateKey ? 'private' : 'public';
    throw new TokenError(
      'key-missing',
      `There are ${found.length} ${what} objects for ${where}, and it must be one: check object= and id=, and that pin-source= is given.`,
    );
  }

  /** A key that could be read out is no better than one in a file, and pretends to be. */
  #refuseExposed(where: string): void {
    const is = (type: bigint): boolean => this.#module.attribute(this.#session, this.#key, type)[0] === 1;
    if (!is(CKA.sensitive) || is(CKA.extractable)) {
      throw new TokenError(
        'key-exposed',
        `${where} can leave its token (CKA_SENSITIVE must be true, CKA_EXTRACTABLE false): make one that cannot, in the token.`,
      );
    }
    if (!is(CKA.sign))
      throw new TokenError('key-refused', `${where} may not sign (CKA_SIGN): make one that may.`);
  }

  #number(object: bigint, type: bigint): bigint {
    return this.#module.attribute(this.#session, object, type).readBigUInt64LE();
  }

  /** DER SubjectPublicKeyInfo. */
  #publicKey(uri: TokenUri, where: string): Buffer {
    const read = (object: bigint, type: bigint): Buffer =>
      this.#module.attribute(this.#session, object, type);
    if (this.#kind === RSA) {
      const key = der(
        0x30,
        integer(read(this.#key, CKA.modulus)),
        integer(read(this.#key, CKA.publicExponent)),
      );
      return der(0x30, der(0x30, RSA_OID, der(0x05)), der(0x03, Buffer.of(0), key));
    }
    if (this.#kind !== EC) {
      throw new TokenError('key-refused', `${where} is neither RSA nor EC: make one of P-256, P-384 or RSA.`);
    }
    const object = this.#one(uri, CKO.publicKey, where);
    const bits = pointOf(read(object, CKA.ecPoint));
    return der(0x30, der(0x30, EC_OID, read(object, CKA.ecParams)), der(0x03, Buffer.of(0), bits));
  }
}

const RSA_OID = Buffer.from('06092a864886f70d010101', 'hex');
const EC_OID = Buffer.from('06072a8648ce3d0201', 'hex');
const P384 = Buffer.from('06052b81040022', 'hex');

/** @throws TokenError `pin-refused` */
function readPin(file: string): Buffer {
  try {
    const { mode } = statSync(file);
    if ((mode & 0o027) !== 0) {
      throw new TokenError(
        'pin-refused',
        `The file ${file} has the mode 0${(mode & 0o777).toString(8)}, so others may know the PIN or change it: run "chmod u=rw,g=,o= ${file}", and change the PIN if somebody could have read it.`,
      );
    }
    return Buffer.from(readFileSync(file, 'utf8').replace(/\r?\n$/u, ''));
  } catch (cause) {
    if (cause instanceof TokenError) throw cause;
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new TokenError('pin-refused', `The file ${file} with the PIN cannot be read (${reason}).`, {
      cause,
    });
  }
}

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const size = content.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.of(tag, ...length), content]);
}

function integer(bytes: Buffer): Buffer {
  const first = bytes[0] ?? 0;
  return der(0x02, first >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes);
}
