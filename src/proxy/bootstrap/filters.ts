import { denyAll } from '../deny-all.ts';
import { authzSlots, TOKEN_FILTER, type FilterName, type PeerChain } from '../resource-types.ts';
import { adsSource } from './xds.ts';
import type { JsonObject, ListenerProtocol } from './types.ts';

const TYPES = 'type.googleapis.com/envoy.extensions.filters';
const kinds = { http: 'http', tcp: 'network' } as const;

/**
 * The filters by ECDS, in the order they judge: of HTTP, how the peer came; CUSTOM (which selects, then asks), request tokens, AUDIT, DENY, ALLOW.
 *
 * The listener opens when all are there. Where one does not come within Envoy's fetch timeout (15 s), it denies
 * everything until it does: were only the ALLOW filter to, a request could pass without the DENY rules.
 */
export function judgingFilters(protocol: ListenerProtocol): readonly JsonObject[] {
  const slots = authzSlots.map((slot) => {
    const others = slot === 'ext_authz' ? [`${TYPES}.${kinds[protocol]}.ext_authz.v3.ExtAuthz`] : [];
    return filterSlot(`countersign.authz.${protocol}.${slot}`, protocol, others);
  });
  if (protocol === 'tcp') return slots;
  const peer = filterSlot('countersign.authn.peer.http', 'http', []);
  const tokens = filterSlot(TOKEN_FILTER, 'http', [`${TYPES}.http.jwt_authn.v3.JwtAuthentication`]);
  return [peer, ...slots.toSpliced(authzSlots.indexOf('audit'), 0, tokens)];
}

/** The first filter of a chain: whether peers may come this way, before anything reads what they say. */
export function peerFilter(chain: PeerChain): JsonObject {
  return filterSlot(`countersign.authn.peer.${chain}`, 'tcp', []);
}

/** A filter by ECDS: RBAC, or one of `others`. It denies everything until its first configuration is there. */
function filterSlot(name: FilterName, protocol: ListenerProtocol, others: readonly string[]): JsonObject {
  const rbac = `${TYPES}.${kinds[protocol]}.rbac.v3.RBAC`;
  return {
    name,
    config_discovery: {
      config_source: adsSource,
      type_urls: [...others, rbac],
      default_config: denyAll(name),
    },
  };
}
