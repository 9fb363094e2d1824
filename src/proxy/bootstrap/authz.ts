import { adsSource } from './xds.ts';
import type { JsonObject, ListenerProtocol } from './types.ts';

const configTypes = {
  http: 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
  tcp: 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC',
} as const;

/**
 * The three RBAC filters by ECDS, in the order they judge: AUDIT, DENY, ALLOW.
 *
 * Until each one's first configuration arrives it denies everything: were only the ALLOW filter to, a request
 * could pass it before the DENY rules are there.
 */
export function authzFilters(protocol: ListenerProtocol): readonly JsonObject[] {
  return (['audit', 'deny', 'allow'] as const).map((action) => ({
    name: `countersign.authz.${protocol}.${action}`,
    config_discovery: {
      config_source: adsSource,
      type_urls: [configTypes[protocol]],
      apply_default_config_without_warming: true,
      default_config: {
        '@type': configTypes[protocol],
        ...(protocol === 'tcp' ? { stat_prefix: 'countersign_' } : {}),
        rules: { action: 'ALLOW', policies: {} },
      },
    },
  }));
}
