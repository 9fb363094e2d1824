import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export type Ip = ipaddr.IPv4 | ipaddr.IPv6;

/** A strict textual address: no octal, no short forms, no zone. */
export function parseIp(text: string): Ip | undefined {
  if (text.includes('%') || isIP(text) === 0) return undefined;
  // Else the library would take `::10.0.0.1`, which is no IPv4 address, for one that is mapped.
  return ipaddr.parse(
    text.replace(/^::(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
      const [a = 0, b = 0, c = 0, d = 0] = bytes.map(Number);
      return `0:0:0:0:0:0:${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
    }),
  );
}

/** The IPv4 address that an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) stands for; any other as it is. */
export function unmapped(ip: Ip): Ip {
  return ip instanceof ipaddr.IPv6 && ip.isIPv4MappedAddress() ? ip.toIPv4Address() : ip;
}

/** An IPv4 block as the IPv6 block of its mapped addresses; undefined: it is no IPv4 block. */
export function mappedBlock({
  address,
  prefixLength,
}: Pick<Cidr, 'address' | 'prefixLength'>): Pick<Cidr, 'address' | 'prefixLength'> | undefined {
  if (isIP(address) !== 4) return undefined;
  return { address: `::ffff:${address}`, prefixLength: prefixLength + 96 };
}

export interface Cidr {
  /** Canonical, host bits cleared. */
  readonly address: string;
  readonly prefixLength: number;
  readonly hostBitsSet: boolean;
}

/** `10.0.0.0/8`, or a bare address as /32 or /128. */
export function parseCidr(text: string): Cidr | undefined {
  const [addressText = '', lengthText, ...rest] = text.split('/');
  const given = parseIp(addressText);
  if (rest.length > 0 || given === undefined) return undefined;
  const bits = bitsOf(given);
  const length = lengthText === undefined ? bits : decimal(lengthText, bits);
  if (length === undefined) return undefined;
  const ip = length >= bits - 32 ? unmapped(given) : given;
  const prefixLength = length - bits + bitsOf(ip);
  const address = masked(ip, prefixLength);
  return { address: canonical(address), prefixLength, hostBitsSet: canonical(address) !== canonical(ip) };
}

/** Whether an address lies in a block of {@link parseCidr}. One that is mapped lies in IPv4 and in IPv6 blocks. */
export function inCidr(ip: Ip, block: Ip, prefixLength: number): boolean {
  if (block instanceof ipaddr.IPv6) return ip instanceof ipaddr.IPv6 && ip.match(block, prefixLength);
  const four = unmapped(ip);
  return four instanceof ipaddr.IPv4 && four.match(block, prefixLength);
}

/** A block's address as it stands, mapped or not. */
export function parseBlockAddress(address: string): Ip {
  return ipaddr.parse(address);
}

function canonical(ip: Ip): string {
  return ip instanceof ipaddr.IPv4 ? ip.toString() : ip.toRFC5952String();
}

function bitsOf(ip: Ip): number {
  return ip.toByteArray().length * 8;
}

function decimal(text: string, maximum: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,2})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= maximum ? value : undefined;
}

function masked(ip: Ip, prefixLength: number): Ip {
  const bytes = ip.toByteArray().map((byte, index) => {
    const kept = Math.min(8, Math.max(0, prefixLength - index * 8));
    return byte & (0xff << (8 - kept)) & 0xff;
  });
  return ipaddr.fromByteArray(bytes);
}
