import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * The one text form in which addresses are compared: RFC 5952 for IPv6; an IPv4-mapped IPv6 address is its IPv4
 * address, as a dual-stack socket shows the peer that way; a zone (`%eth0`) is dropped.
 * @returns undefined for what is no address: also for the octal, short and decimal forms that C libraries accept.
 */
export function canonicalIp(text: string): string | undefined {
  const [address = ''] = text.split('%', 1);
  const version = isIP(address);
  // Dotted quads have one spelling that `isIP` takes.
  if (version === 4) return address;
  return version === 0 ? undefined : ipaddr.process(address).toString();
}
