import type { Principal, RbacPolicy } from './envoy-types.ts';
import type { MeshSettings } from './types.ts';

/** The rule's name inside Envoy. It sorts before those of policies: of several that match, Envoy names it. */
const NAME = 'countersign-federation[ended]';

/**
 * What a DENY filter holds beside the policies: nobody connects any more from a trust domain without a bundle, but
 * whoever is connected already is judged by his next request.
 */
export function endedRules({
  endedTrustDomains = [],
}: MeshSettings): readonly (readonly [string, RbacPolicy])[] {
  if (endedTrustDomains.length === 0) return [];
  const principals = endedTrustDomains.map((name): Principal => ({
    authenticated: { principal_name: { prefix: `spiffe://${name}/` } },
  }));
  return [[NAME, { permissions: [{ any: true }], principals }]];
}

/** Why a caller is denied before any policy is asked; undefined: it is not. As Envoy decides {@link endedRules}. */
export function endedFor(principal: string, { endedTrustDomains = [] }: MeshSettings): string | undefined {
  const ended = endedTrustDomains.find((name) => principal.startsWith(`spiffe://${name}/`));
  return ended && `the trust domain ${ended} is not trusted any more: there is no bundle of it`;
}
