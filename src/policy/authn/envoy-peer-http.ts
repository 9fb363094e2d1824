import { AUTHENTICATED } from '../envoy-principal.ts';
import type { HttpRbac, Permission, Principal, RbacPolicy } from '../envoy-types.ts';
import type { PeerMode, PeerModes } from './types.ts';

/** An HTTP RBAC filter. */
export interface PeerRequestFilter {
  readonly name: string;
  readonly typed_config: Omit<HttpRbac, 'shadow_rules' | 'shadow_rules_stat_prefix'>;
}

/**
 * The same question as that of `compilePeerModes`, asked again of each request: a connection that is open when the
 * modes change keeps the first filter that it began with. Equal input gives equal bytes.
 */
export function compilePeerRequests(modes: PeerModes): PeerRequestFilter {
  const refused: readonly (readonly [string, PeerMode, Principal])[] = [
    ['mtls', 'DISABLE', AUTHENTICATED],
    ['plaintext', 'STRICT', { not_id: AUTHENTICATED }],
  ];
  const policies = refused.flatMap(([name, mode, principal]): [string, RbacPolicy][] => {
    const permissions = portsWith(mode, modes);
    return permissions.length === 0 ? [] : [[name, { permissions, principals: [principal] }]];
  });
  return {
    name: 'countersign.authn.peer.http',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
      ...(policies.length > 0 && { rules: { action: 'DENY', policies: Object.fromEntries(policies) } }),
      rules_stat_prefix: 'countersign_peer_http_',
    },
  };
}

/** Empty: none. */
function portsWith(wanted: PeerMode, { mode, ports }: PeerModes): readonly Permission[] {
  const listed = (which: (mode: PeerMode) => boolean): Permission[] =>
    [...ports]
      .filter(([, each]) => which(each))
      .map(([port]) => port)
      .toSorted((a, b) => a - b)
      .map((port) => ({ destination_port: port }));
  if (mode !== wanted) return listed((each) => each === wanted);
  const others = listed((each) => each !== wanted);
  return others.length === 0 ? [{ any: true }] : [{ not_rule: { or_rules: { rules: others } } }];
}
