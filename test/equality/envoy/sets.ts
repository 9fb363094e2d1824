import type { JsonObject } from '../../../src/proxy/index.ts';
import type { Door } from '../world.ts';
import { at, door, extendLog, ROUTES, sidecarListener, type ConfigOptions, type Mutable } from './config.ts';
import { resources, SET_HEADER, type Filter } from './files.ts';
import { UNVERIFYING } from './verifying.ts';

const V3 = 'type.googleapis.com/envoy.';

/** One policy set's filters, in Envoy's JSON form, as they went over the wire. */
export interface SetFilters {
  /** Tells sets apart; never used twice in an Envoy's life. */
  readonly id: string;
  readonly filters: readonly Filter[];
  /** Its tokens are verified. */
  readonly verifies?: boolean;
  /** Which external authorizer is asked; undefined: none. */
  readonly asks?: string | undefined;
}

/** Routes: the set's number leads to a route that overrides the three filters. */
export function routesResource(
  sets: readonly SetFilters[],
  version: string,
  authorizers: ReadonlyMap<string, Filter>,
): Mutable {
  const unasked = (asks: string | undefined): [string, JsonObject][] =>
    [...authorizers]
      .filter(([name]) => name !== asks)
      .map(([, filter]) => [
        filter.name,
        { '@type': `${V3}extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute`, disabled: true },
      ]);
  const route = ({ id, filters, asks, verifies = false }: SetFilters): JsonObject => ({
    action: {
      name: 'route',
      typed_config: {
        '@type': `${V3}config.route.v3.Route`,
        name: id,
        match: { prefix: '' },
        direct_response: { status: 200 },
        typed_per_filter_config: Object.fromEntries([
          ...unasked(asks),
          ...(verifies ? [] : [UNVERIFYING]),
          ...filters.map(({ name, typed_config: { '@type': _type, ...rbac } }): [string, JsonObject] => [
            name,
            { '@type': `${V3}extensions.filters.http.rbac.v3.RBACPerRoute`, rbac },
          ]),
        ]),
      },
    },
  });
  const host: JsonObject = {
    name: 'all',
    domains: ['*'],
    matcher: {
      matcher_tree: {
        input: {
          name: 'set',
          typed_config: {
            '@type': `${V3}type.matcher.v3.HttpRequestHeaderMatchInput`,
            header_name: SET_HEADER,
          },
        },
        exact_match_map: { map: Object.fromEntries(sets.map((set) => [set.id, route(set)])) },
      },
    },
  };
  return resources(version, [
    { '@type': `${V3}config.route.v3.RouteConfiguration`, name: ROUTES, virtual_hosts: [host] },
  ]);
}

export interface TcpSet extends SetFilters {
  readonly port: number;
  /** Those that somebody comes to. */
  readonly doors: readonly Door[];
}

/** Listeners: a port for each set, the same on every door. */
export function listenersResource(sets: readonly TcpSet[], version: string, options: ConfigOptions): Mutable {
  const listener = (set: TcpSet, which: Door): Mutable => {
    const made = sidecarListener('tcp', which, options);
    const chain = at(made, 'filter_chains', 0) as Mutable;
    const proxy = (at(chain, 'filters') as Mutable[]).at(-1) ?? {};
    const config = at(proxy, 'typed_config') as Mutable;
    config['cluster'] = 'echo';
    extendLog(config);
    // Whom the authorizer refuses, nobody else is asked about.
    const first = set.filters.findIndex(({ name }) => name.endsWith('.audit'));
    chain['filters'] = [...set.filters.toSpliced(first, 0, ...mirrors(set)), proxy];
    return {
      '@type': `${V3}config.listener.v3.Listener`,
      ...door(made, which, set.port, options),
    };
  };
  return resources(
    version,
    sets.flatMap((set) => set.doors.map((which) => listener(set, which))),
  );
}

/**
 * What the network filter does not tell about rules that it enforces, it tells about shadow rules: the same rules
 * once more, enforced by nobody.
 */
function mirrors({ filters }: SetFilters): Filter[] {
  return filters.flatMap(({ name, typed_config: config }): Filter[] => {
    const [which, rules] = [name.slice(name.lastIndexOf('.') + 1), config['rules']];
    if (rules === undefined || which === 'deny') return [];
    const prefix = `mirror_${which}_`;
    const mirror = {
      '@type': config['@type'] ?? '',
      stat_prefix: prefix,
      shadow_rules: rules,
      shadow_rules_stat_prefix: prefix,
    };
    return [{ name: prefix, typed_config: mirror }];
  });
}
