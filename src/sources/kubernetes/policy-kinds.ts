import type { PolicyKind } from '../../mesh/index.ts';

/** As in the paths of the API. Each kind is watched in both groups. */
export const PLURALS: Readonly<Record<PolicyKind, string>> = {
  AuthorizationPolicy: 'authorizationpolicies',
  RequestAuthentication: 'requestauthentications',
  PeerAuthentication: 'peerauthentications',
};

/** The own group first: an object of the other that has the same name is known by another. */
export const POLICY_GROUPS = ['security.countersign.dev', 'security.istio.io'] as const;
export type PolicyGroup = (typeof POLICY_GROUPS)[number];

/** Of each group those that are read, in this order. Documents of all mean the same. */
export const POLICY_VERSIONS: Readonly<Record<PolicyGroup, readonly [string, ...string[]]>> = {
  'security.countersign.dev': ['v1'],
  'security.istio.io': ['v1', 'v1beta1'],
};
