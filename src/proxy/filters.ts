import { hash } from 'node:crypto';
import {
  compile,
  compilePeerModes,
  compilePeerRequests,
  compileRequestAuthentications,
  idleCustomFilters,
  type AuthorizationPolicy,
  type HttpRbac,
  type MeshSettings,
  type PeerModes,
  type QuarantineRule,
  type RbacPolicy,
  type RbacRules,
  type RequestAuthentication,
  type TcpRbac,
} from '../policy/index.ts';
import { MAX_RECEIVED_BYTES } from './bootstrap/xds.ts';
import { denyAll } from './deny-all.ts';
import type { EncodedResource, ResourceEncoder } from './encoder.ts';
import {
  authzSlots,
  EXTENSION_CONFIG_TYPE,
  peerSlots,
  TOKEN_FILTER,
  type FilterName,
} from './resource-types.ts';

/** The filters of one workload, by name. The same object for all workloads with the same policies, keys and modes. */
export type FilterSet = ReadonlyMap<FilterName, EncodedResource>;

/** All that shapes the filters of a workload, beside the settings of the mesh. */
export interface FilterInputs {
  /** Those that select the workload, in their stable order; so are the others. */
  readonly policies: readonly AuthorizationPolicy[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly peers: PeerModes;
  /** Whom the workload denies before any policy. */
  readonly quarantine: readonly QuarantineRule[];
}

export interface FilterCacheOptions {
  readonly encoder: ResourceEncoder;
  readonly settings: MeshSettings;
  /** The keys behind a URI, as fetched last; undefined: none yet. */
  readonly jwksOf: (uri: string) => string | undefined;
}

/** Compiles each distinct set of inputs once, whoever it is for. A filter that is too large for a push denies all. */
export class FilterCache {
  readonly #encoder: ResourceEncoder;
  readonly #jwksOf: FilterCacheOptions['jwksOf'];
  #settings: MeshSettings;
  readonly #sets = new Map<string, FilterSet>();
  /** By name and content: equal filters are one object, encoded once, even where the policies differ. */
  readonly #resources = new Map<string, EncodedResource>();

  constructor({ encoder, settings, jwksOf }: FilterCacheOptions) {
    this.#encoder = encoder;
    this.#settings = settings;
    this.#jwksOf = jwksOf;
  }

  get size(): number {
    return this.#sets.size;
  }

  /** Compiles anew from now on. */
  use(settings: MeshSettings): void {
    this.#settings = settings;
    this.#sets.clear();
  }

  get(inputs: FilterInputs): FilterSet {
    const key = this.#keyOf(inputs);
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = this.#compile(inputs);
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

  #keyOf({ policies, requestAuthentications, quarantine, peers: { mode, ports } }: FilterInputs): string {
    const documents = [policies, requestAuthentications].map((list) =>
      list.map(({ namespace, name, digest }) => `${namespace}/${name}@${digest}`).join('\n'),
    );
    const keys = requestAuthentications.flatMap(urisOf).map((uri) => digestOfKeys(this.#jwksOf(uri)));
    const peers = `${mode} ${[...ports].join(' ')}`;
    return [...documents, keys.join('\n'), peers, textOf(quarantine)].join('\n\n');
  }

  #compile({ policies, requestAuthentications, peers, quarantine }: FilterInputs): FilterSet {
    const set = new Map<FilterName, EncodedResource>();
    for (const protocol of ['http', 'tcp'] as const) {
      const { custom, audit, deny, allow } = compile(policies, {
        protocol,
        settings: this.#settings,
        quarantine,
      });
      const { select, ask } = custom ?? idleCustomFilters(protocol);
      const bySlot = { custom: select, ext_authz: ask, audit, deny, allow };
      for (const slot of authzSlots) {
        const name: FilterName = `countersign.authz.${protocol}.${slot}`;
        set.set(name, this.#resource(name, bySlot[slot].typed_config));
      }
    }
    const { filter } = compileRequestAuthentications(requestAuthentications, this.#jwksOf);
    set.set(TOKEN_FILTER, this.#resource(TOKEN_FILTER, filter?.typed_config ?? NO_TOKENS));
    const peerFilters = { ...compilePeerModes(peers), http: compilePeerRequests(peers) };
    for (const slot of peerSlots) {
      const name: FilterName = `countersign.authn.peer.${slot}`;
      set.set(name, this.#resource(name, peerFilters[slot].typed_config));
    }
    this.#fit(set);
    return set;
  }

  /** Until all fit into one push, the largest gives way. */
  #fit(set: Map<FilterName, EncodedResource>): void {
    const bySize = [...set].toSorted(([, a], [, b]) => b.body.length - a.body.length);
    let total = bySize.reduce((sum, [, { body }]) => sum + body.length, 0);
    for (const [name, { body }] of bySize) {
      if (total <= MAX_SET_BYTES) return;
      total -= body.length;
      set.set(name, this.#denyingAll(name, body.length));
    }
  }

  /** Encoding costs many times what telling two filters apart does; a change touches one of a set's fourteen. */
  #resource(name: FilterName, typedConfig: TypedConfig): EncodedResource {
    const key = `${name}@${contentOf(typedConfig)}`;
    const known = this.#resources.get(key);
    if (known !== undefined) return known;
    const whole = this.#encoder.encode(EXTENSION_CONFIG_TYPE, name, { typed_config: { ...typedConfig } });
    const bytes = whole.body.length;
    const resource = bytes > MAX_FILTER_BYTES ? this.#denyingAll(name, bytes) : whole;
    this.#resources.set(key, resource);
    return resource;
  }

  /** A push that cannot arrive would be tried for ever, and no other could follow it. */
  #denyingAll(name: FilterName, bytes: number): EncodedResource {
    const resource = this.#encoder.encode(EXTENSION_CONFIG_TYPE, name, { typed_config: denyAll(name) });
    tooLarge.set(resource, bytes);
    return resource;
  }
}

/** Encoded; see `MAX_RECEIVED_BYTES`, which is what a whole set has to pass through. */
export const MAX_FILTER_BYTES: number = 3 * 1024 * 1024;
const MAX_SET_BYTES = (MAX_RECEIVED_BYTES * 3) / 4;

/** Those that deny all because the filter in their place had this many bytes. */
const tooLarge = new WeakMap<EncodedResource, number>();

/** What an operator has to know of filters that deny all because they were too large; undefined: none is. */
export function faultOf(set: FilterSet): string | undefined {
  const faults = [...set].flatMap(([name, resource]) => {
    const bytes = tooLarge.get(resource);
    return bytes === undefined ? [] : [`${name} has ${bytes} bytes`];
  });
  return faults.length === 0
    ? undefined
    : `too large to be sent, so that everything is denied: ${faults.join(', ')}; a filter has at most ${MAX_FILTER_BYTES} bytes, all of a workload ${MAX_SET_BYTES}: let fewer or shorter policies select the workload`;
}

/** Where nobody's tokens are verified: everything passes. */
const NO_TOKENS: TypedConfig = { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC' };

/** The addresses of the keys that a document trusts. */
export function urisOf({ jwtRules }: RequestAuthentication): string[] {
  return jwtRules.flatMap(({ keys }) => (keys.kind === 'uri' ? [keys.uri] : []));
}

/** Of the list itself: most workloads have the same one. */
const texts = new WeakMap<readonly QuarantineRule[], string>();

function textOf(quarantine: readonly QuarantineRule[]): string {
  const known = texts.get(quarantine);
  if (known !== undefined) return known;
  const text = hash('sha256', JSON.stringify(quarantine), 'base64');
  texts.set(quarantine, text);
  return text;
}

function digestOfKeys(jwks: string | undefined): string {
  return jwks === undefined ? '' : hash('sha256', jwks, 'base64');
}

/** Of any filter. */
interface TypedConfig {
  readonly '@type': string;
}

function isRbac(config: TypedConfig): config is HttpRbac | TcpRbac {
  return config['@type'].endsWith('.rbac.v3.RBAC');
}

/** Equal for equal filters. Rules of a policy that stayed are the objects that they were: each is read once. */
function contentOf(config: TypedConfig): string {
  if (!isRbac(config)) return hash('sha256', JSON.stringify(config), 'base64');
  const { rules, shadow_rules: shadow, ...rest } = config;
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
