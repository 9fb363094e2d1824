import type { RbacPolicy } from './envoy-types.ts';
import type { MeshSettings } from './types.ts';

/** The rule's name inside Envoy. It sorts before those of policies: of several that match, Envoy names it. */
export function endedName(trustDomain: string): string {
  return `countersign-federation[${trustDomain}]`;
}

/**
 * What a DENY filter holds beside the policies: nobody connects any more from a trust domain without a bundle, but
 * whoever is connected already is judged by his next request.
 */
export function endedRules({
  endedTrustDomains = [],
}: MeshSettings): readonly (readonly [string, RbacPolicy])[] {
  return endedTrustDomains.map((name) => [
    endedName(name),
    {
      permissions: [{ any: true }],
      principals: [{ authenticated: { principal_name: { prefix: `spiffe://${name}/` } } }],
    },
  ]);
}

/** The trust domain for which a caller is denied before any policy is asked, as Envoy decides {@link endedRules}. */
export function endedFor(principal: string, { endedTrustDomains = [] }: MeshSettings): string | undefined {
  return endedTrustDomains.find((name) => principal.startsWith(`spiffe://${name}/`));
}
