import type { Permission, RbacRules, TcpRbac } from '../envoy-types.ts';
import type { PeerMode, PeerModes } from './types.ts';

/** A network RBAC filter. */
export interface PeerFilter {
  readonly name: string;
  readonly typed_config: Omit<TcpRbac, 'shadow_rules' | 'shadow_rules_stat_prefix'>;
}

/** The first network filters of the two filter chains of an inbound listener. */
export interface CompiledPeerModes {
  /** Of the chain whose peers come by mTLS: refuses them on DISABLE ports. */
  readonly mtls: PeerFilter;
  /** Of the chain for all others: lets them pass on PERMISSIVE and DISABLE ports alone. */
  readonly plaintext: PeerFilter;
}

/** Ports are those that the connection was made to. Equal input gives equal bytes. */
export function compilePeerModes(modes: PeerModes): CompiledPeerModes {
  return {
    mtls: filter('mtls', modes, (mode) => mode !== 'DISABLE'),
    plaintext: filter('plaintext', modes, (mode) => mode !== 'STRICT'),
  };
}

function filter(
  which: 'mtls' | 'plaintext',
  modes: PeerModes,
  open: (mode: PeerMode) => boolean,
): PeerFilter {
  const rules = rulesFor(modes, open);
  return {
    name: `countersign.authn.peer.${which}`,
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC',
      ...(rules && { rules }),
      stat_prefix: `countersign_peer_${which}_`,
    },
  };
}

/** undefined: everything passes. */
function rulesFor({ mode, ports }: PeerModes, open: (mode: PeerMode) => boolean): RbacRules | undefined {
  const others = [...ports].filter(([, each]) => open(each) !== open(mode)).map(([port]) => port);
  if (others.length === 0) return open(mode) ? undefined : { action: 'ALLOW', policies: {} };
  const permissions = others
    .toSorted((a, b) => a - b)
    .map((port): Permission => ({ destination_port: port }));
  return {
    action: open(mode) ? 'DENY' : 'ALLOW',
    policies: { ports: { permissions, principals: [{ any: true }] } },
  };
}
