import { isIPv6 } from 'node:net';
import type { Asked } from '../case.ts';
import { METADATA } from '../world.ts';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
/** The first of the types that the protocol leaves to its users: one for each text of `METADATA`. */
const FIRST_TYPE = 0xe0;

/** Texts that a PROXY protocol header carries, and the dynamic metadata that Envoy makes of them. */
export const PROXIED_TEXTS: readonly {
  readonly type: number;
  readonly name: string;
  readonly key: string;
}[] = METADATA.filter(({ protocol }) => protocol === 'tcp').map(({ name, key }, at) => ({
  ...{ type: FIRST_TYPE + at, name, key },
}));

/** A header of the PROXY protocol, version 2, for a TCP connection from `asked.proxied`. */
export function proxyHeader(
  { proxied = '', metadata }: Asked,
  sourcePort: number,
  [destination, port]: readonly [string, number],
): Buffer {
  const texts = PROXIED_TEXTS.flatMap(({ type, name, key }) => {
    const value = metadata?.[name]?.[key];
    return typeof value === 'string' ? [typed(type, Buffer.from(value, 'utf8'))] : [];
  });
  const six = isIPv6(proxied);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(sourcePort, 0);
  ports.writeUInt16BE(port, 2);
  const body = Buffer.concat([addressBytes(proxied), addressBytes(destination), ports, ...texts]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length);
  return Buffer.concat([SIGNATURE, Buffer.from([0x21, six ? 0x21 : 0x11]), length, body]);
}

function typed(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), value]);
}

function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  // An IPv4 address at its end is two groups more.
  const hex = address.replace(/[\d.]+$/u, (tail) =>
    tail.includes('.') ? addressBytes(tail).toString('hex').replace(/^.{4}/u, '$&:') : tail,
  );
  const [before = [], after = []] = hex.split('::').map((text) => (text === '' ? [] : text.split(':')));
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  const groups = [...before, ...zeros, ...after].map((group) => group.padStart(4, '0'));
  return Buffer.from(groups.join(''), 'hex');
}
