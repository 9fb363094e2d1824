/** Type URLs and names of what one Envoy may ask for. */

export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
export const EXTENSION_CONFIG_TYPE = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';

/** The order within one push: what verifies, before what is presented, before what is enforced. */
export function pushOrder(typeUrl: string): number {
  return typeUrl === SECRET_TYPE ? 0 : 1;
}

/** The authorization filters of one protocol, in the order in which they judge. */
export const authzSlots = ['custom', 'ext_authz', 'audit', 'deny', 'allow'] as const;

/** Of HTTP only: tokens are verified after an authorizer was asked, and before any rule looks at them. */
export const TOKEN_FILTER = 'countersign.authn.http.jwt';

/** The two chains of an inbound listener. */
export type PeerChain = 'mtls' | 'plaintext';

/** How peers may come: of each chain the first filter, and of HTTP the first that sees requests. */
export const peerSlots = ['mtls', 'plaintext', 'http'] as const;

export type FilterName =
  | `countersign.authz.${'http' | 'tcp'}.${(typeof authzSlots)[number]}`
  | typeof TOKEN_FILTER
  | `countersign.authn.peer.${(typeof peerSlots)[number]}`;

export const filterNames: readonly FilterName[] = [
  ...peerSlots.map((slot): FilterName => `countersign.authn.peer.${slot}`),
  TOKEN_FILTER,
  ...(['http', 'tcp'] as const).flatMap((protocol) =>
    authzSlots.map((slot): FilterName => `countersign.authz.${protocol}.${slot}`),
  ),
];

/** For whoever asked for another name. */
export const offeredFilters: string = `countersign.authz.{http,tcp}.{${authzSlots.join(',')}}, ${TOKEN_FILTER}, countersign.authn.peer.{${peerSlots.join(',')}}`;

export function isFilterName(name: string): name is FilterName {
  return (filterNames as readonly string[]).includes(name);
}
