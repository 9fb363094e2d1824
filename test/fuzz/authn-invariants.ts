import {
  resolvePeerModes,
  type CompiledRequestAuthentication,
  type PeerAuthentication,
  type PeerFilter,
  type PeerRequestFilter,
  type RequestAuthentication,
} from '../../src/policy/index.ts';
import type { Parsers } from './parsers.ts';
import { demand, knows, list, mapping } from './reading.ts';

const DOCUMENT = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
const JWT_RULE = [
  ...['issuer', 'audiences', 'jwks', 'jwksUri', 'jwks_uri', 'fromHeaders', 'fromParams', 'fromCookies'],
  ...['outputPayloadToHeader', 'outputClaimToHeaders', 'forwardOriginalToken', 'spaceDelimitedClaims'],
  'timeout',
];

/** A RequestAuthentication that was taken verifies the tokens that it says, and no others. */
export function checkRequestAuthentication(
  value: unknown,
  policy: RequestAuthentication,
  { compileRequest }: Parsers,
): void {
  knows(value, DOCUMENT);
  const spec = mapping(mapping(value)['spec']);
  knows(spec, ['selector', 'jwtRules']);
  const written = list(spec['jwtRules']).map(mapping);
  demand(policy.jwtRules.length === written.length, 'a rule more or less than written');
  for (const [index, fields] of written.entries()) {
    const rule = policy.jwtRules[index];
    knows(fields, JWT_RULE);
    for (const entry of list(fields['fromHeaders'])) knows(entry, ['name', 'prefix']);
    demand(rule !== undefined && rule.issuer === fields['issuer'], 'another issuer than written');
    for (const [read, name] of [
      [rule.audiences, 'audiences'],
      [rule.fromParams, 'fromParams'],
      [rule.fromCookies, 'fromCookies'],
    ] as const)
      demand(same(read, [...new Set(list(fields[name]))]), `${name} other than written`);
    demand(rule.fromHeaders.length === list(fields['fromHeaders']).length, 'fromHeaders other than written');
    demand(rule.forwardOriginalToken === (fields['forwardOriginalToken'] === true), 'forwards otherwise');
    demand((rule.keys.kind === 'inline') === (fields['jwks'] !== undefined), 'keys from elsewhere');
  }
  checkVerified(
    policy,
    compileRequest([policy], () => undefined),
    undefined,
  );
  const fetched = '{"keys":[]}';
  checkVerified(
    policy,
    compileRequest([policy], () => fetched),
    fetched,
  );
}

function checkVerified(
  { jwtRules }: RequestAuthentication,
  { filter, notes }: CompiledRequestAuthentication,
  fetched: string | undefined,
): void {
  demand((filter === undefined) === (jwtRules.length === 0), 'rules without a filter, or none with one');
  const providers = Object.entries(filter?.typed_config.providers ?? {});
  const rules = filter?.typed_config.rules ?? [];
  demand(
    filter === undefined || rules.at(-1)?.match.prefix === '/',
    'requests that no requirement holds for',
  );
  const required = JSON.stringify(rules.at(-1)?.requires ?? {});
  for (const { issuer, audiences, keys } of jwtRules) {
    const jwks = keys.kind === 'inline' ? keys.jwks : fetched;
    const name = providers.find(
      ([, each]) =>
        each.issuer === issuer &&
        each.local_jwks.inline_string === jwks &&
        same(each.audiences ?? [], audiences),
    )?.[0];
    const noted = notes.some(({ message }) => message.includes(JSON.stringify(issuer)));
    demand(name !== undefined || noted, 'an issuer with neither a provider nor a note');
    demand(jwks !== undefined || noted, 'an issuer without keys, and nobody told');
    demand(name === undefined || required.includes(JSON.stringify(name)), 'a provider that nobody asks');
  }
  for (const [
    ,
    {
      issuer,
      local_jwks: { inline_string: jwks },
    },
  ] of providers) {
    const trusted = jwtRules.some(
      (rule) => rule.issuer === issuer && (rule.keys.kind === 'inline' ? rule.keys.jwks : fetched) === jwks,
    );
    demand(trusted || /"AgAAAA[A]*"/u.test(jwks), 'a provider with keys that nobody wrote');
  }
}

const MODES: ReadonlySet<unknown> = new Set(['STRICT', 'PERMISSIVE', 'DISABLE']);

/** A PeerAuthentication that was taken lets nobody in otherwise than it says. */
export function checkPeerAuthentication(
  value: unknown,
  policy: PeerAuthentication,
  { compilePeers, compilePeerHttp }: Parsers,
): void {
  knows(value, DOCUMENT);
  const { namespace } = policy;
  const spec = mapping(mapping(value)['spec']);
  knows(spec, ['selector', 'mtls', 'portLevelMtls']);
  knows(spec['mtls'], ['mode']);
  const labels = mapping(mapping(spec['selector'])['matchLabels']);
  const unused = namespace === 'root' && Object.keys(labels).length > 0;
  const modeOf = (written: unknown): unknown => {
    const mode = mapping(written)['mode'] ?? 'UNSET';
    demand(mode === 'UNSET' || MODES.has(mode), 'read a mode that does not exist');
    return mode === 'UNSET' ? undefined : mode;
  };
  const mode = modeOf(spec['mtls']) ?? 'STRICT';
  const ports = Object.entries(mapping(spec['portLevelMtls'])).map(
    ([port, each]) => [Number(port), modeOf(each) ?? mode] as const,
  );
  const modes = resolvePeerModes([policy], { namespace, labels: policy.selector }, { rootNamespace: 'root' });
  const { mtls, plaintext } = compilePeers(modes);
  const http = compilePeerHttp(modes);
  const asked = new Map<number, unknown>([[1, mode], [65_535, mode], ...ports]);
  for (const [port, said] of asked) {
    const wanted = unused ? 'STRICT' : said;
    const [withMtls, without] = [wanted !== 'DISABLE', wanted !== 'STRICT'];
    demand(
      passes(plaintext, port) === without,
      `port ${port} takes plaintext otherwise than ${JSON.stringify(wanted)}`,
    );
    demand(
      passes(mtls, port) === withMtls,
      `port ${port} takes mTLS otherwise than ${JSON.stringify(wanted)}`,
    );
    demand(refused(http, 'plaintext', port) !== without, `requests to port ${port} are looser or stricter`);
    demand(refused(http, 'mtls', port) !== withMtls, `requests to port ${port} are looser or stricter`);
  }
}

/** As Envoy judges the little that such filters hold. */
function passes({ typed_config: { rules } }: PeerFilter, port: number): boolean {
  if (rules === undefined) return true;
  const met = Object.values(rules.policies).some(({ permissions }) =>
    permissions.some((each) => holds(each, port)),
  );
  return (rules.action === 'ALLOW') === met;
}

function refused({ typed_config: { rules } }: PeerRequestFilter, which: string, port: number): boolean {
  return rules?.policies[which]?.permissions.some((each) => holds(each, port)) === true;
}

function holds(permission: object, port: number): boolean {
  const fields = mapping(permission);
  if (fields['any'] === true) return true;
  if (fields['destination_port'] !== undefined) return fields['destination_port'] === port;
  const inner = mapping(mapping(fields['not_rule'])['or_rules'])['rules'];
  demand(Array.isArray(inner), 'a permission of another kind');
  return !inner.some((each: unknown) => holds(mapping(each), port));
}

function same(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((each, index) => each === other[index]);
}
