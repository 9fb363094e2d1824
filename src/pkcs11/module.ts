import { dlopen, getRawPointer } from 'node:ffi';
import { TokenError, type TokenErrorCode } from './errors.ts';

/** The functions of PKCS#11 v2.40 that are called, all of them by name: a module need only export them. */
const FUNCTIONS = {
  C_Initialize: { return: 'u64', arguments: ['pointer'] },
  C_Finalize: { return: 'u64', arguments: ['pointer'] },
  C_GetSlotList: { return: 'u64', arguments: ['u8', 'pointer', 'pointer'] },
  C_GetTokenInfo: { return: 'u64', arguments: ['u64', 'pointer'] },
  C_OpenSession: { return: 'u64', arguments: ['u64', 'u64', 'pointer', 'pointer', 'pointer'] },
  C_Login: { return: 'u64', arguments: ['u64', 'u64', 'pointer', 'u64'] },
  C_FindObjectsInit: { return: 'u64', arguments: ['u64', 'pointer', 'u64'] },
  C_FindObjects: { return: 'u64', arguments: ['u64', 'pointer', 'u64', 'pointer'] },
  C_FindObjectsFinal: { return: 'u64', arguments: ['u64'] },
  C_GetAttributeValue: { return: 'u64', arguments: ['u64', 'u64', 'pointer', 'u64'] },
  C_SignInit: { return: 'u64', arguments: ['u64', 'pointer', 'u64'] },
  C_Sign: { return: 'u64', arguments: ['u64', 'pointer', 'u64', 'pointer', 'pointer'] },
} as const;

type Argument = bigint | number | Buffer;
type Functions = Readonly<Record<keyof typeof FUNCTIONS, (...args: readonly Argument[]) => bigint>>;

const NULL = 0n;
/** CKF_SERIAL_SESSION: nothing in the token is ever changed. */
const SERIAL_SESSION = 4n;
const USER = 1n;
const MAX_SLOTS = 256;
const MAX_OBJECTS = 8;
const ULONG = 8;

export const CKA = {
  class: 0x0n,
  label: 0x3n,
  keyType: 0x100n,
  id: 0x102n,
  sensitive: 0x103n,
  sign: 0x108n,
  modulus: 0x120n,
  publicExponent: 0x122n,
  extractable: 0x162n,
  ecParams: 0x180n,
  ecPoint: 0x181n,
} as const;

export const CKO = { publicKey: 2n, privateKey: 3n } as const;
export const CKM = { sha256RsaPkcs: 0x40n, ecdsa: 0x1041n } as const;

/** What their numbers are called where an operator can do something about it. */
const RETURNED: Readonly<Record<string, readonly [TokenErrorCode, string]>> = {
  '5': ['token-failed', 'general error (CKR_GENERAL_ERROR)'],
  '48': ['token-failed', 'device error (CKR_DEVICE_ERROR)'],
  '50': ['token-failed', 'the device was removed (CKR_DEVICE_REMOVED)'],
  '160': ['pin-refused', 'the PIN is not right (CKR_PIN_INCORRECT)'],
  '162': ['pin-refused', 'the PIN has a length that is not allowed (CKR_PIN_LEN_RANGE)'],
  '164': ['pin-refused', 'the PIN is locked (CKR_PIN_LOCKED)'],
  '224': ['token-missing', 'the token is not there (CKR_TOKEN_NOT_PRESENT)'],
};

export interface TokenInfo {
  readonly slot: bigint;
  readonly label: string;
  readonly serial: string;
}

/** A PKCS#11 module, loaded into this process: one that is meant to die with it. */
export class Pkcs11Module {
  readonly #path: string;
  readonly #functions: Functions;

  /** @throws TokenError `module-unusable`, `token-failed` */
  constructor(path: string) {
    this.#path = path;
    try {
      // Numbers are 64 bits wide, as on every Linux that Node is built for.
      this.#functions = dlopen(path, FUNCTIONS).functions as unknown as Functions;
    } catch (cause) {
      throw new TokenError(
        'module-unusable',
        `The PKCS#11 module ${path} cannot be loaded (${cause instanceof Error ? cause.message : 'unknown error'}): check module-path, and that it exports the functions of PKCS#11 by name.`,
        { cause },
      );
    }
    this.#call('C_Initialize', NULL);
  }

  tokens(): readonly TokenInfo[] {
    const slots = Buffer.alloc(MAX_SLOTS * ULONG);
    const count = ulong(MAX_SLOTS);
    this.#call('C_GetSlotList', 1, slots, count);
    return Array.from({ length: Number(count.readBigUInt64LE()) }, (_, index) => {
      const slot = slots.readBigUInt64LE(index * ULONG);
      // CK_TOKEN_INFO begins with label, manufacturer, model, serial: texts padded with spaces.
      const info = Buffer.alloc(512);
      this.#call('C_GetTokenInfo', slot, info);
      const textAt = (start: number, end: number): string =>
        info.toString('utf8', start, end).replace(/[ \0]+$/u, '');
      return { slot, label: textAt(0, 32), serial: textAt(80, 96) };
    });
  }

  openSession(slot: bigint, pin: Buffer | undefined): bigint {
    const handle = ulong(0);
    this.#call('C_OpenSession', slot, SERIAL_SESSION, NULL, NULL, handle);
    const session = handle.readBigUInt64LE();
    if (pin !== undefined) this.#call('C_Login', session, USER, pin, BigInt(pin.length));
    return session;
  }

  find(session: bigint, wanted: ReadonlyMap<bigint, Buffer>): readonly bigint[] {
    const template = templateOf(wanted);
    this.#call('C_FindObjectsInit', session, template, BigInt(wanted.size));
    const handles = Buffer.alloc(MAX_OBJECTS * ULONG);
    const count = ulong(0);
    this.#call('C_FindObjects', session, handles, BigInt(MAX_OBJECTS), count);
    this.#call('C_FindObjectsFinal', session);
    return Array.from({ length: Number(count.readBigUInt64LE()) }, (_, index) =>
      handles.readBigUInt64LE(index * ULONG),
    );
  }

  attribute(session: bigint, object: bigint, type: bigint): Buffer {
    const value = Buffer.alloc(4096);
    const template = templateOf(new Map([[type, value]]));
    this.#call('C_GetAttributeValue', session, object, template, 1n);
    return Buffer.from(value.subarray(0, Number(template.readBigUInt64LE(2 * ULONG))));
  }

  sign(session: bigint, key: bigint, mechanism: bigint, data: Buffer): Buffer {
    const how = Buffer.alloc(3 * ULONG);
    how.writeBigUInt64LE(mechanism);
    this.#call('C_SignInit', session, how, key);
    const signature = Buffer.alloc(1024);
    const length = ulong(signature.length);
    this.#call('C_Sign', session, data, BigInt(data.length), signature, length);
    return Buffer.from(signature.subarray(0, Number(length.readBigUInt64LE())));
  }

  #call(name: keyof typeof FUNCTIONS, ...args: readonly Argument[]): void {
    const returned = this.#functions[name](...args);
    if (returned === 0n) return;
    const [code, what] = RETURNED[String(returned)] ?? ['token-failed', `0x${returned.toString(16)}`];
    throw new TokenError(code, `The PKCS#11 module ${this.#path} refused ${name}: ${what}.`);
  }
}

export function ulong(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(ULONG);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** CK_ATTRIBUTE, one after the other. It points into the values, which must live as long. */
function templateOf(values: ReadonlyMap<bigint, Buffer>): Buffer {
  const template = Buffer.alloc(values.size * 3 * ULONG);
  let at = 0;
  for (const [type, value] of values) {
    at = template.writeBigUInt64LE(type, at);
    at = template.writeBigUInt64LE(getRawPointer(value), at);
    at = template.writeBigUInt64LE(BigInt(value.length), at);
  }
  return template;
}
