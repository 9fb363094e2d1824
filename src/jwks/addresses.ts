import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { JwksError } from './errors.ts';
import type { Resolve, ResolvedAddress } from './types.ts';

/** Networks that pods reach as well; every other kind is refused, also those that ipaddr.js may learn to tell apart. */
const ALLOWED_RANGES: ReadonlySet<string> = new Set(['unicast', 'private', 'uniqueLocal', 'carrierGradeNat']);

/** Where clouds serve a machine's credentials outside of the link-local network: Alibaba, Azure, AWS and Google by IPv6. */
const METADATA: ReadonlySet<string> = new Set([
  '100.100.100.200',
  '168.63.129.16',
  'fd00:ec2::254',
  'fd20:ce::254',
]);

export const systemResolve: Resolve = (host) => lookup(host, { all: true });

/**
 * The addresses of a host that may be connected to. Whoever connects to these, and resolves no more, cannot be
 * led elsewhere by a second answer of the name server.
 * @param host a name or an address, IPv6 without brackets
 * @throws JwksError `unreachable`, `address-refused`
 */
export async function allowedAddresses(
  host: string,
  options: { readonly resolve: Resolve; readonly allowLoopback: boolean },
): Promise<readonly ResolvedAddress[]> {
  const family = isIP(host);
  const found = family === 0 ? await options.resolve(host) : [{ address: host, family }];
  const refusals = new Set<string>();
  const allowed = found.filter(({ address }) => {
    const refusal = refusalOf(address, options.allowLoopback);
    if (refusal !== undefined) refusals.add(refusal);
    return refusal === undefined;
  });
  if (allowed.length > 0) return allowed;
  if (refusals.size === 0) throw new JwksError('unreachable', 'The host name has no address.');
  throw new JwksError(
    'address-refused',
    `The host has only addresses that keys are not fetched from (${[...refusals].join(', ')}): use one that is reached over the network.`,
  );
}

/** @returns which kind of address it is that may not be connected to; undefined: it may */
function refusalOf(text: string, allowLoopback: boolean): string | undefined {
  const [bare = ''] = text.split('%', 1);
  if (isIP(bare) === 0) return 'no address';
  // An IPv4-mapped address is its IPv4 address.
  const address = ipaddr.process(bare);
  if (METADATA.has(address.toString())) return 'cloud metadata';
  const range: string = address.range();
  if (range === 'loopback') return allowLoopback ? undefined : 'loopback';
  if (!(address instanceof ipaddr.IPv6)) return ALLOWED_RANGES.has(range) ? undefined : range;
  const bytes = address.toByteArray();
  const embedded = bytes.slice(12).join('.');
  // NAT64 (RFC 6052): such an address leads to the IPv4 address in it.
  if (address.match(ipaddr.IPv6.parse('64:ff9b::'), 96)) return refusalOf(embedded, false);
  // The IPv4-compatible form that RFC 4291 withdrew.
  if (bytes.slice(0, 12).every((byte) => byte === 0)) return 'unspecified';
  return ALLOWED_RANGES.has(range) ? undefined : range;
}
