import { adsSource } from './xds.ts';
import type { JsonObject, ListenerProtocol } from './types.ts';

const configTypes = {
  http: 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
  tcp: 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC',
} as const;

/**
 * The three RBAC filters by ECDS, in the order they judge: AUDIT, DENY, ALLOW.
 *
 * The listener opens when all three are there. Where one does not come within Envoy's fetch timeout (15 s), it
 * denies everything until it does: were only the ALLOW filter to, a request could pass without the DENY rules.
 */
export function authzFilters(protocol: ListenerProtocol): readonly JsonObject[] {
  return (['audit', 'deny', 'allow'] as const).map((action) => ({
    name: `countersign.authz.${protocol}.${action}`,
    config_discovery: {
      config_source: adsSource,
      type_urls: [configTypes[protocol]],
      default_config: {
        '@type': configTypes[protocol],
        ...(protocol === 'tcp' ? { stat_prefix: 'countersign_' } : {}),
        rules: { action: 'ALLOW', policies: {} },
      },
    },
  }));
}
