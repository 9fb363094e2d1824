import type { SvidHolder } from '../../src/identity/index.ts';
import type { ExternalAuthorizer, PeerCertificate } from '../../src/policy/index.ts';
import { KEY_SETS } from './envoy/tokens.ts';

/**
 * The small world in which policies are judged. Addresses and identities are few and close to each other, so that
 * a generated value is often a neighbour of what a request holds. Ports are chosen by the system: `$PORT` stands
 * for that of the listener in documents and requests, so that a seed means the same on every machine.
 */

export const PORT = '$PORT';
/** `$NOW-90m`: the time of this run and minutes before or after it, as a document of this run writes it. */
export const NOW = '$NOW';

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

/** As SVIDs of releases before the Subject: an identity of the mesh, and nothing that says when it was issued. */
export const FORMER_PEER: Peer = { kind: 'odd', names: { uri: ['spiffe://td1/ns/a/sa/x'], dns: [] } };

/** Of each SVID, what its Subject says. */
export const ISSUED_MS: number = Date.now();
export function holderOf(id: string): SvidHolder {
  const index = SVIDS.indexOf(id);
  return { podUid: `pod-${index}`, node: `node-${index % 2}` };
}

/** What Envoy is to show to rules of each certificate of this run, by the peer's name. */
export const SHOWN: Map<string, PeerCertificate> = new Map<string, PeerCertificate>();

/** Listeners that differ in what they let in. Each has an address of its own; all have one port. */
export type Door = 'sidecar' | 'sidecar6' | 'forwarded' | 'proxied' | 'open' | 'plaintext';

export const DOOR_ADDRESSES: Readonly<Record<Door, string>> = {
  /** As the bootstrap writes it. */
  sidecar: '127.77.0.1',
  sidecar6: '::1',
  /** Believes X-Forwarded-For. */
  forwarded: '127.77.0.2',
  /** Takes any certificate, or none. */
  open: '127.77.0.3',
  plaintext: '127.77.0.4',
  /** Behind the PROXY protocol. */
  proxied: '127.77.0.5',
};

/** What a PROXY protocol header names as the destination of a client that comes by IPv6. */
export const PROXIED_DESTINATION6 = '2001:db8::99';

export const CLIENT_ADDRESSES: readonly string[] = ['127.77.1.1', '127.77.1.2', '127.77.1.3', '127.77.2.1'];

/** Prefix of the headers that the authorizer over HTTP is shown; policies never name one. */
export const OWN_HEADERS = 'x-equality-';

/** The external authorizers of the mesh. Two of them answer; nobody listens where the others should be. */
export const AUTHORIZERS: readonly ExternalAuthorizer[] = [
  authorizer('grpc', 'grpc', false),
  authorizer('http', 'http', false),
  authorizer('away', 'grpc', false),
  authorizer('open', 'http', true),
];

function authorizer(name: string, protocol: 'grpc' | 'http', failOpen: boolean): ExternalAuthorizer {
  const common = { name, protocol, host: 'unused', port: 1, timeoutMs: 30_000, failOpen, statusOnError: 403 };
  if (protocol === 'grpc') return common;
  const none = { addedHeaders: {}, upstreamOnAllow: [], downstreamOnDeny: [], downstreamOnAllow: [] };
  return { ...common, http: { pathPrefix: '', sentHeaders: [`${OWN_HEADERS}*`], ...none } };
}

/** Dynamic metadata that filters in front of the judging ones can write: for HTTP any value, for TCP texts. */
export const METADATA: readonly {
  readonly protocol: 'http' | 'tcp';
  readonly name: string;
  readonly key: string;
}[] = [
  { protocol: 'http', name: 'envoy.filters.http.x', key: 'k' },
  { protocol: 'http', name: 'envoy.filters.http.x', key: 'l' },
  { protocol: 'http', name: 'envoy.filters.http.x.y', key: 'k' },
  { protocol: 'tcp', name: 'envoy.filters.listener.proxy_protocol', key: 'k' },
  { protocol: 'tcp', name: 'envoy.filters.listener.proxy_protocol', key: 'l' },
];

function digestOf(index: number): string {
  return SHOWN.get(SVIDS[index] ?? '')?.digest ?? '';
}

/** How a document or a request of a case becomes one of this run. */
export function inThisRun<T>(value: T, port: number): T {
  const text = JSON.stringify(value)
    .replaceAll(PORT, String(port))
    .replaceAll(/\$KEYS(\d)/gu, (_, index: string) => JSON.stringify(KEY_SETS[Number(index)]).slice(1, -1))
    .replaceAll(/\$NOW([+-]\d+)m/gu, (_, minutes: string) =>
      new Date(Date.now() + Number(minutes) * 60_000).toISOString(),
    );
  const times = text
    .replaceAll(/"\$MS([+-]\d+)m"/gu, (_, minutes: string) => String(Date.now() + Number(minutes) * 60_000))
    .replaceAll(/"\$ISSUED([+-]\d+)"/gu, (_, ms: string) => String(ISSUED_MS + Number(ms)));
  return JSON.parse(times.replaceAll(/\$DIGEST(\d+)/gu, (_, index: string) => digestOf(Number(index)))) as T;
}
