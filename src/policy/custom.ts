import type { AuthorizationPolicy, ExternalAuthorizer, MeshSettings, Protocol } from './types.ts';

/** What becomes of the CUSTOM policies of one workload. */
export interface CustomPlan {
  /** Who is asked; undefined: nobody. */
  readonly authorizer: ExternalAuthorizer | undefined;
  /** Policies whose requests go to the authorizer. */
  readonly asked: readonly AuthorizationPolicy[];
  /** Policies that nobody can answer for: they deny exactly what they select. With the reason, in words. */
  readonly denied: ReadonlyMap<AuthorizationPolicy, string>;
}

/** A provider is known by its whole name. One Envoy filter asks one authorizer, so a workload can have one. */
export function customPlan(
  policies: readonly AuthorizationPolicy[],
  { authorizers = [] }: MeshSettings,
  protocol: Protocol,
): CustomPlan {
  const asked: AuthorizationPolicy[] = [];
  const denied = new Map<AuthorizationPolicy, string>();
  const custom = policies.filter(({ action }) => action === 'CUSTOM');
  const names = new Set(custom.map(({ provider }) => provider));
  const authorizer = authorizers.find(({ name }) => names.has(name));
  for (const policy of custom) {
    const fault = faultOf(policy, authorizers, names, protocol);
    if (fault === undefined) asked.push(policy);
    else denied.set(policy, fault);
  }
  return { authorizer: asked.length === 0 ? undefined : authorizer, asked, denied };
}

function faultOf(
  { provider = '' }: AuthorizationPolicy,
  authorizers: readonly ExternalAuthorizer[],
  names: ReadonlySet<string | undefined>,
  protocol: Protocol,
): string | undefined {
  const known = authorizers.find(({ name }) => name === provider);
  if (known === undefined) {
    const declared = authorizers.map(({ name }) => name).join(', ');
    return `provider ${provider} is not declared in the mesh's configuration (${declared === '' ? 'none is' : `declared: ${declared}`})`;
  }
  if (names.size > 1) {
    const all = [...names].filter((name) => name !== undefined).toSorted();
    return `the workload's CUSTOM policies name several providers (${all.join(', ')}), and it can have one`;
  }
  if (protocol === 'tcp' && known.protocol === 'http')
    return `provider ${provider} speaks HTTP, and a TCP connection can ask by gRPC only`;
  return undefined;
}
