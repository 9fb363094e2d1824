import type { JsonObject } from './bootstrap/types.ts';
import type { FilterName } from './resource-types.ts';

/** A configuration that denies everything. It may stand in any slot: in the bootstrap, and later. */
export function denyAll(name: FilterName): JsonObject {
  const connection = name.startsWith('countersign.authz.tcp.') || /\.peer\.(mtls|plaintext)$/.test(name);
  const kind = connection ? 'network' : 'http';
  return {
    '@type': `type.googleapis.com/envoy.extensions.filters.${kind}.rbac.v3.RBAC`,
    ...(connection && { stat_prefix: 'countersign_' }),
    rules: { action: 'ALLOW', policies: {} },
  };
}
