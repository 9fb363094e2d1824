import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { isPodUid, type SpiffeId, type SvidHolder } from '../identity/index.ts';
import { dnsName, ipName, leafSubject, subjectAltName, uriName } from './certificate.ts';
import { AuthorityError } from './errors.ts';

const NONE: readonly string[] = [];
const DNS_NAME = /^(\*\.)?([a-z0-9_]([a-z0-9\-_]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9\-_]{0,61}[a-z0-9_])?$/;

/**
 * The subject alternative names of a leaf: the SPIFFE ID, its only URI (X509-SVID section 2), then the others. Not
 * critical, as there is a subject.
 * @throws AuthorityError `name-invalid`
 */
export function namesExtension(
  id: SpiffeId,
  dnsNames: readonly string[] = NONE,
  ipAddresses: readonly string[] = NONE,
): Buffer {
  return subjectAltName(false, uriName(id.uri), ...dnsNames.map(encodeDns), ...ipAddresses.map(encodeIp));
}

/**
 * The subject of a leaf.
 * @throws AuthorityError `name-invalid`
 */
export function subjectOf(issuedAtMs: number, holder: SvidHolder | undefined): Buffer {
  if (holder === undefined || isPodUid(holder.podUid)) return leafSubject(issuedAtMs, holder);
  throw new AuthorityError(
    'name-invalid',
    `${JSON.stringify(holder.podUid.slice(0, 96))} is not the UID of a pod: give at most 128 letters, digits, -, _, . or :.`,
  );
}

function encodeDns(name: string): Buffer {
  if (name.length <= 253 && DNS_NAME.test(name)) return dnsName(name);
  throw new AuthorityError(
    'name-invalid',
    `${JSON.stringify(name.slice(0, 96))} is not a DNS name: give lower-case labels of at most 63 characters, 253 in all.`,
  );
}

function encodeIp(address: string): Buffer {
  if (isIP(address) !== 0 && !address.includes('%'))
    return ipName(Buffer.from(ipaddr.parse(address).toByteArray()));
  throw new AuthorityError('name-invalid', `${JSON.stringify(address.slice(0, 96))} is not an IP address.`);
}
