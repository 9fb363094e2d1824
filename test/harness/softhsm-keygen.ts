import { dlopen, getRawPointer } from 'node:ffi';

/**
 * A process that makes a key inside of a token, as an operator's own tools do it.
 * Arguments: module, token, PIN, label, kind (P-256, P-384 or RSA-2048), `extractable` or nothing.
 */
const [, , modulePath = '', token, pin = '', label = '', kind = 'P-256', exposed] = process.argv;

const { functions: pkcs11 } = dlopen(modulePath, {
  C_Initialize: { return: 'u64', arguments: ['pointer'] },
  C_GetSlotList: { return: 'u64', arguments: ['u8', 'pointer', 'pointer'] },
  C_GetTokenInfo: { return: 'u64', arguments: ['u64', 'pointer'] },
  C_OpenSession: { return: 'u64', arguments: ['u64', 'u64', 'pointer', 'pointer', 'pointer'] },
  C_Login: { return: 'u64', arguments: ['u64', 'u64', 'pointer', 'u64'] },
  C_GenerateKeyPair: {
    return: 'u64',
    arguments: ['u64', 'pointer', 'pointer', 'u64', 'pointer', 'u64', 'pointer', 'pointer'],
  },
});

function must(what: string, returned: bigint): void {
  if (returned !== 0n) throw new Error(`${what}: 0x${returned.toString(16)}`);
}

function ulong(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

const alive: Buffer[] = [];

function template(values: readonly (readonly [bigint, Buffer])[]): Buffer {
  const words = values.flatMap(([type, value]) => {
    alive.push(value);
    return [type, getRawPointer(value), BigInt(value.length)];
  });
  return Buffer.concat(words.map(ulong));
}

must('C_Initialize', pkcs11.C_Initialize(0n));
const slots = Buffer.alloc(64 * 8);
const count = ulong(64n);
must('C_GetSlotList', pkcs11.C_GetSlotList(1, slots, count));
const slot = Array.from({ length: Number(count.readBigUInt64LE()) }, (_, at) =>
  slots.readBigUInt64LE(at * 8),
).find((candidate) => {
  const info = Buffer.alloc(512);
  must('C_GetTokenInfo', pkcs11.C_GetTokenInfo(candidate, info));
  return info.toString('utf8', 0, 32).trimEnd() === token;
});
if (slot === undefined) throw new Error(`there is no token ${token}`);
const session = ulong(0n);
must('C_OpenSession', pkcs11.C_OpenSession(slot, 6n, 0n, 0n, session));
must(
  'C_Login',
  pkcs11.C_Login(session.readBigUInt64LE(), 1n, Buffer.from(pin), BigInt(Buffer.byteLength(pin))),
);
const [yes, no] = [Buffer.of(1), Buffer.of(0)];
const isExposed = exposed === 'extractable';
const named = [
  [1n, yes],
  [3n, Buffer.from(label)],
  [0x102n, Buffer.from(label)],
] as const;
const curves: Readonly<Record<string, string>> = {
  'P-256': '06082a8648ce3d030107',
  'P-384': '06052b81040022',
};
const curve = curves[kind];
const mechanism = Buffer.concat([ulong(curve === undefined ? 0n : 0x1040n), ulong(0n), ulong(0n)]);
const size =
  curve === undefined
    ? ([
        [0x121n, ulong(2048n)],
        [0x122n, Buffer.of(1, 0, 1)],
      ] as const)
    : ([[0x180n, Buffer.from(curve, 'hex')]] as const);
const open = [...named, ...size, [0x10an, yes]] as const;
const closed = [
  ...named,
  [2n, yes],
  [0x108n, yes],
  [0x103n, isExposed ? no : yes],
  [0x162n, isExposed ? yes : no],
] as const;
must(
  'C_GenerateKeyPair',
  pkcs11.C_GenerateKeyPair(
    session.readBigUInt64LE(),
    mechanism,
    template(open),
    BigInt(open.length),
    template(closed),
    BigInt(closed.length),
    ulong(0n),
    ulong(0n),
  ),
);
