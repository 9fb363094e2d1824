import { hash } from 'node:crypto';
import {
  compile,
  idleCustomFilters,
  type AuthorizationPolicy,
  type MeshSettings,
  type RbacPolicy,
  type RbacRules,
} from '../policy/index.ts';
import type { EncodedResource, ResourceEncoder } from './encoder.ts';
import { authzSlots, EXTENSION_CONFIG_TYPE, type FilterName } from './resource-types.ts';

/** The authorization filters of one workload, by name. The same object for all workloads with the same policies. */
export type FilterSet = ReadonlyMap<FilterName, EncodedResource>;

/** Compiles each distinct list of policies once, whoever it selects. */
export class FilterCache {
  readonly #encoder: ResourceEncoder;
  #settings: MeshSettings;
  readonly #sets = new Map<string, FilterSet>();
  /** By name and content: equal filters are one object, encoded once, even where the policies differ. */
  readonly #resources = new Map<string, EncodedResource>();

  constructor(encoder: ResourceEncoder, settings: MeshSettings) {
    this.#encoder = encoder;
    this.#settings = settings;
  }

  get size(): number {
    return this.#sets.size;
  }

  /** Compiles anew from now on. */
  use(settings: MeshSettings): void {
    this.#settings = settings;
    this.#sets.clear();
  }

  /** @param policies those that select the workload, in their stable order */
  get(policies: readonly AuthorizationPolicy[]): FilterSet {
    const key = policies.map((policy) => `${policy.namespace}/${policy.name}@${policy.digest}`).join('\n');
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = this.#compile(policies);
      this.#sets.set(key, set);
    }
    return set;
  }

  /** Forgets what no workload uses any more. */
  keepOnly(used: ReadonlySet<FilterSet>): void {
    for (const [key, set] of this.#sets) if (!used.has(set)) this.#sets.delete(key);
    const live = new Set([...this.#sets.values()].flatMap((set) => [...set.values()]));
    for (const [key, resource] of this.#resources) if (!live.has(resource)) this.#resources.delete(key);
  }

  #compile(policies: readonly AuthorizationPolicy[]): FilterSet {
    const set = new Map<FilterName, EncodedResource>();
    for (const protocol of ['http', 'tcp'] as const) {
      const { custom, audit, deny, allow } = compile(policies, { protocol, settings: this.#settings });
      const { select, ask } = custom ?? idleCustomFilters(protocol);
      const bySlot = { custom: select, ext_authz: ask, audit, deny, allow };
      for (const slot of authzSlots) {
        const name: FilterName = `countersign.authz.${protocol}.${slot}`;
        set.set(name, this.#resource(name, bySlot[slot].typed_config));
      }
    }
    return set;
  }

  /** Encoding costs many times what telling two filters apart does; a change touches one of a set's six. */
  #resource(name: FilterName, typedConfig: TypedConfig): EncodedResource {
    const key = `${name}@${contentOf(typedConfig)}`;
    const known = this.#resources.get(key);
    if (known !== undefined) return known;
    const resource = this.#encoder.encode(EXTENSION_CONFIG_TYPE, name, { typed_config: typedConfig });
    this.#resources.set(key, resource);
    return resource;
  }
}

/** Of any filter; RBAC ones have rules. */
interface TypedConfig {
  readonly '@type': string;
  readonly rules?: RbacRules;
  readonly shadow_rules?: RbacRules;
}

/** Equal for equal filters. Rules of a policy that stayed are the objects that they were: each is read once. */
function contentOf({ rules, shadow_rules: shadow, ...rest }: TypedConfig): string {
  const content = [rest, contentOfRules(rules), contentOfRules(shadow)];
  return hash('sha256', JSON.stringify(content), 'base64');
}

function contentOfRules(rules: RbacRules | undefined): unknown {
  if (rules === undefined) return undefined;
  const { action, policies, ...none } = rules;
  none satisfies Record<string, never>;
  return [action, Object.entries(policies).map(([name, policy]) => [name, digestOf(policy)])];
}

const digests = new WeakMap<RbacPolicy, string>();

function digestOf(policy: RbacPolicy): string {
  const known = digests.get(policy);
  if (known !== undefined) return known;
  const digest = hash('sha256', JSON.stringify(policy), 'base64');
  digests.set(policy, digest);
  return digest;
}
