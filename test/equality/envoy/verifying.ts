import type { JsonObject } from '../../../src/proxy/index.ts';
import { NUMBER_HEADER } from './authorizers.ts';
import { fromFile, resources, SET_HEADER } from './files.ts';

const NAME = 'verifying';
const TYPE = 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication';

/** A request of the newest batch with this number has no token that it would need: it tells that the batch is there. */
export const UNVERIFIED = 'unverified';

/** The filter that verifies tokens, by ECDS from a file. */
export function verifyingFilter(folder: string): JsonObject {
  const config_source = fromFile(folder, 'verifying.json');
  return { name: NAME, config_discovery: { config_source, type_urls: [TYPE] } };
}

/** Of a route whose set has no authentications. (The filter's own `disabled` would still have it clear headers.) */
export const UNVERIFYING: [string, JsonObject] = [
  NAME,
  { '@type': 'type.googleapis.com/envoy.config.route.v3.FilterConfig', disabled: true },
];

interface JwtRule {
  readonly match: JsonObject & { readonly headers?: readonly JsonObject[] };
  readonly requires: JsonObject;
}

/** One filter out of those of many sets: each set's rules hold for its own requests, by providers of its own. */
export function verifyingResource(sets: ReadonlyMap<string, JsonObject>, probe: string): object {
  const providers: Record<string, JsonObject> = {};
  const rules: JwtRule[] = [];
  for (const [id, config] of sets) {
    const own = config['providers'] as Record<string, JsonObject>;
    for (const [name, provider] of Object.entries(own)) providers[`${id}:${name}`] = provider;
    for (const { match, requires } of config['rules'] as unknown as JwtRule[]) {
      rules.push({
        match: { ...match, headers: [...(match.headers ?? []), header(SET_HEADER, id)] },
        requires: renamed(requires, id) as JsonObject,
      });
    }
  }
  providers[UNVERIFIED] = {
    local_jwks: { inline_string: NOBODYS_KEY },
    from_headers: [{ name: NUMBER_HEADER }],
  };
  rules.push({
    match: { prefix: '/', headers: [header(SET_HEADER, probe), header(NUMBER_HEADER, UNVERIFIED)] },
    requires: { provider_name: UNVERIFIED },
  });
  return resources(probe, [
    {
      '@type': 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
      name: NAME,
      typed_config: { '@type': TYPE, providers, rules },
    },
  ]);
}

/** Any key will do: the number that stands where a token should is none. */
const NOBODYS_KEY =
  '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}';

function header(name: string, value: string): JsonObject {
  return { name, string_match: { exact: value } };
}

function renamed(requirement: unknown, id: string): unknown {
  if (Array.isArray(requirement)) return requirement.map((each) => renamed(each, id));
  if (typeof requirement !== 'object' || requirement === null) return requirement;
  return Object.fromEntries(
    Object.entries(requirement).map(([key, value]) =>
      key === 'provider_name' ? [key, `${id}:${value}`] : [key, renamed(value, id)],
    ),
  );
}
