import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export type Ip = ipaddr.IPv4 | ipaddr.IPv6;

/** A strict textual address: no octal, no short forms, no zone. An IPv4-mapped IPv6 address is its IPv4 address, as in Envoy. */
export function parseIp(text: string): Ip | undefined {
  if (text.includes('%') || isIP(text) === 0) return undefined;
  return ipaddr.process(text);
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
  if (rest.length > 0 || isIP(addressText) === 0 || addressText.includes('%')) return undefined;
  const given = ipaddr.parse(addressText);
  const bits = bitsOf(given);
  const length = lengthText === undefined ? bits : decimal(lengthText, bits);
  if (length === undefined) return undefined;
  const mapped = given instanceof ipaddr.IPv6 && given.isIPv4MappedAddress() && length >= 96;
  const ip = mapped ? given.toIPv4Address() : given;
  const prefixLength = mapped ? length - 96 : length;
  const address = masked(ip, prefixLength);
  return { address: canonical(address), prefixLength, hostBitsSet: canonical(address) !== canonical(ip) };
}

/** Whether an address lies in a block of {@link parseCidr}. */
export function inCidr(ip: Ip, block: Ip, prefixLength: number): boolean {
  if (ip instanceof ipaddr.IPv4) return block instanceof ipaddr.IPv4 && ip.match(block, prefixLength);
  return block instanceof ipaddr.IPv6 && ip.match(block, prefixLength);
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
