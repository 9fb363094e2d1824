/** Type URLs and names of what one Envoy may ask for. */

export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
export const EXTENSION_CONFIG_TYPE = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';

/** The order within one push: what verifies, before what is presented, before what is enforced. */
export function pushOrder(typeUrl: string): number {
  return typeUrl === SECRET_TYPE ? 0 : 1;
}

/** The authorization filters of one protocol, in the order in which they judge. */
export const authzSlots = ['custom', 'ext_authz', 'audit', 'deny', 'allow'] as const;

export type FilterName = `countersign.authz.${'http' | 'tcp'}.${(typeof authzSlots)[number]}`;

export const filterNames: readonly FilterName[] = (['http', 'tcp'] as const).flatMap((protocol) =>
  authzSlots.map((slot): FilterName => `countersign.authz.${protocol}.${slot}`),
);

/** For whoever asked for another name. */
export const offeredFilters: string = `countersign.authz.{http,tcp}.{${authzSlots.join(',')}}`;

export function isFilterName(name: string): name is FilterName {
  return (filterNames as readonly string[]).includes(name);
}
