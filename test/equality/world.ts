/**
 * The small world in which policies are judged. Addresses and identities are few and close to each other, so that
 * a generated value is often a neighbour of what a request holds. Ports are chosen by the system: `$PORT` stands
 * for that of the listener in documents and requests, so that a seed means the same on every machine.
 */

export const PORT = '$PORT';

/** Who asks. `svid`: issued by Countersign's authority. */
export type Peer =
  | { readonly kind: 'svid'; readonly id: string }
  /** A certificate that the SPIFFE validator would refuse, let in by a validator that asks for no SPIFFE ID. */
  | { readonly kind: 'odd'; readonly names: Readonly<Record<'uri' | 'dns', readonly string[]>> }
  /** TLS without a client certificate. */
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'plaintext' };

export const TRUST_DOMAINS: readonly string[] = ['td1', 'td2', 'td1.x'];

/** Neighbours by prefix, suffix, segment and depth. The last two also carry DNS names and an IP address. */
export const SVIDS: readonly string[] = [
  'spiffe://td1/ns/a/sa/x',
  'spiffe://td1/ns/a/sa/xy',
  'spiffe://td1/ns/ab/sa/x',
  'spiffe://td1/ns/b/sa/x',
  'spiffe://td2/ns/a/sa/x',
  'spiffe://td1.x/ns/a/sa/x',
  'spiffe://td1/ns/a/sa/x/more',
  'spiffe://td1/x/ns/a/sa/x',
  'spiffe://td1/ns/A/sa/X',
  'spiffe://td1/special/one',
  'spiffe://td1/ns/a-b/sa/x.y',
  'spiffe://td1/ns/a/sa/y',
];

/** Further names in some of the SVIDs. */
export const FURTHER_NAMES: Readonly<Record<string, { dnsNames: string[]; ipAddresses: string[] }>> = {
  'spiffe://td1/ns/a-b/sa/x.y': { dnsNames: ['x.a.svc', 'td1'], ipAddresses: ['127.77.1.1'] },
  'spiffe://td1/ns/a/sa/y': { dnsNames: ['y.a.svc'], ipAddresses: ['::1'] },
};

export const ODD_PEERS: readonly Peer[] = [
  { kind: 'odd', names: { uri: [], dns: ['td1'] } },
  { kind: 'odd', names: { uri: ['https://td1/ns/a/sa/x'], dns: [] } },
  { kind: 'odd', names: { uri: ['spiffe://TD1/ns/a/sa/x'], dns: [] } },
  { kind: 'odd', names: { uri: ['spiffe://td1'], dns: ['x.a.svc'] } },
  { kind: 'odd', names: { uri: ['SPIFFE://td1/ns/a/sa/x'], dns: [] } },
];

/** Listeners that differ in what they let in. Each has an address of its own; all have one port. */
export type Door = 'sidecar' | 'sidecar6' | 'forwarded' | 'open' | 'plaintext';

export const DOOR_ADDRESSES: Readonly<Record<Door, string>> = {
  /** As the bootstrap writes it. */
  sidecar: '127.77.0.1',
  sidecar6: '::1',
  /** Believes X-Forwarded-For. */
  forwarded: '127.77.0.2',
  /** Takes any certificate, or none. */
  open: '127.77.0.3',
  plaintext: '127.77.0.4',
};

export const CLIENT_ADDRESSES: readonly string[] = ['127.77.1.1', '127.77.1.2', '127.77.1.3', '127.77.2.1'];

/** How a document or a request of a case becomes one of this run. */
export function withPort<T>(value: T, port: number): T {
  return JSON.parse(JSON.stringify(value).replaceAll(PORT, String(port))) as T;
}
