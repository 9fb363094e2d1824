import * as fc from 'fast-check';
import type { Asked, Condition, PolicySet, RuleDocument } from '../case.ts';
import { CLIENT_ADDRESSES, METADATA, ODD_PEERS, PORT, SVIDS, type Peer } from '../world.ts';
import { tokens } from './authentications.ts';
import { instances, neighbours, pathNeighbours, svidsFor } from './edges.ts';
import { suspects } from './quarantine.ts';
import { HEADER_VALUES, metadataKey, PATHS } from './values.ts';

/** What a rule says about one thing that a request has. */
interface Aim {
  readonly wanted: readonly string[];
  readonly unwanted: readonly string[];
}

/** One way through a rule: one `from`, one `to`, all of `when`. */
interface Way {
  readonly source: Readonly<Record<string, readonly string[]>>;
  readonly operation: Readonly<Record<string, readonly string[]>>;
  readonly when: readonly Condition[];
}

const NO_WAY: Way = { source: {}, operation: {}, when: [] };

function ways({ from = [], to = [], when = [] }: RuleDocument): Way[] {
  const sources = from.length === 0 ? [{}] : from.map(({ source }) => source);
  const operations = to.length === 0 ? [{}] : to.map(({ operation }) => operation);
  return sources.flatMap((source) => operations.map((operation) => ({ source, operation, when })));
}

/** @param fields the fields of a clause, @param keys the keys of `when` that speak of the same */
function aimOf(
  way: Way,
  fields: Readonly<Record<string, readonly string[]>>,
  field: string,
  keys: RegExp,
): Aim {
  const conditions = way.when.filter(({ key }) => keys.test(key));
  const negative = `not${field.charAt(0).toUpperCase()}${field.slice(1)}`;
  return {
    wanted: [...(fields[field] ?? []), ...conditions.flatMap(({ values = [] }) => values)],
    unwanted: [...(fields[negative] ?? []), ...conditions.flatMap(({ notValues = [] }) => notValues)],
  };
}

/** Mostly what is wanted, else what stands beside it, what is unwanted, or anything. */
function near(
  { wanted, unwanted }: Aim,
  anything: readonly string[],
  beside: (text: string) => readonly string[] = neighbours,
): fc.Arbitrary<string> {
  const hits = wanted.flatMap(instances);
  const excluded = unwanted.flatMap(instances);
  const named = [...hits, ...excluded];
  const choices = [{ weight: 3, arbitrary: fc.constantFrom(...anything) }];
  if (hits.length > 0) choices.push({ weight: 9, arbitrary: fc.constantFrom(...hits) });
  if (excluded.length > 0) choices.push({ weight: 2, arbitrary: fc.constantFrom(...excluded) });
  if (named.length > 0) {
    choices.push({ weight: 4, arbitrary: fc.constantFrom(...named.flatMap((text) => beside(text))) });
  }
  return fc.oneof(...choices);
}

const svid = (id: string): Peer => ({ kind: 'svid', id });

/** @param meant by the quarantine */
function peer(way: Way, meant: readonly Peer[]): fc.Arbitrary<Peer> {
  const keys: Readonly<Record<string, string>> = {
    principals: 'source.principal',
    namespaces: 'source.namespace',
    serviceAccounts: 'source.serviceAccount',
    trustDomains: 'source.trustDomain',
  };
  let fitting = [...SVIDS];
  for (const [field, key] of Object.entries(keys)) {
    const { wanted } = aimOf(way, way.source, field, new RegExp(`^${key}$`, 'u'));
    if (wanted.length === 0) continue;
    const fit = new Set(wanted.flatMap((value) => svidsFor(field, value)));
    fitting = fitting.filter((id) => fit.has(id));
  }
  return fc.oneof(
    {
      weight: fitting.length > 0 ? 10 : 0,
      arbitrary: fc.constantFrom(...(fitting.length > 0 ? fitting : SVIDS)).map(svid),
    },
    {
      weight: meant.length > 0 ? 6 : 0,
      arbitrary: fc.constantFrom(...(meant.length > 0 ? meant : ODD_PEERS)),
    },
    { weight: 4, arbitrary: fc.constantFrom(...SVIDS).map(svid) },
    { weight: 1, arbitrary: fc.constantFrom(...ODD_PEERS) },
    {
      weight: 2,
      arbitrary: fc.constantFrom<Peer>({ kind: 'anonymous' }, { kind: 'plaintext' }, { kind: 'plaintext' }),
    },
  );
}

/** Names that HTTP/1.1's reader in Envoy takes, and that a client may send without a body. */
const HTTP1_METHODS = new Set(['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS']);

/** What may stand in the head of a request as it is: no control character, no blank that would end a word. */
const isWord = (text: string): boolean => /^[!-~]+$/u.test(text);

function headers(way: Way): fc.Arbitrary<(readonly [string, string])[]> {
  const named = way.when.flatMap(({ key, values = [], notValues = [] }) => {
    const name = /^request\.headers\[([^:][^\]]*)\]$/u.exec(key)?.[1];
    return name === undefined || name === 'host'
      ? []
      : [{ name, aim: { wanted: values, unwanted: notValues } }];
  });
  const asSent = (name: string): fc.Arbitrary<string> =>
    fc.constantFrom(name, name.toLowerCase(), name.toUpperCase());
  const several = named.map(({ name, aim }) =>
    fc
      .array(fc.tuple(asSent(name), near(aim, ['', ...HEADER_VALUES])), { maxLength: 3, size: 'max' })
      .map((list) => list.map(([as, value]) => [as, value.trim()] as const)),
  );
  const other = fc.array(
    fc.tuple(fc.constantFrom('x-a', 'x-b', 'accept', 'x-d'), fc.constantFrom('', ...HEADER_VALUES)),
    {
      maxLength: 1,
    },
  );
  return fc.tuple(other, ...several).map((lists) => lists.flat());
}

/** A request near the edges of one of the set's rules. */
export function question({
  documents,
  protocol,
  authentications = [],
  quarantine = [],
}: PolicySet): fc.Arbitrary<Asked> {
  const custom = documents.some(({ spec }) => spec.action === 'CUSTOM');
  const all = documents.flatMap(({ spec }) => (spec.rules ?? []).flatMap(ways));
  return fc.constantFrom(...(all.length > 0 ? all : [NO_WAY])).chain((way) => {
    const aim = (field: string, keys: RegExp): Aim => aimOf(way, way.operation, field, keys);
    const remote = aimOf(way, way.source, 'remoteIpBlocks', /^remote\.ip$/u);
    const speaksOfRemote = remote.wanted.length + remote.unwanted.length > 0;
    const sni = aimOf(way, {}, '', /^connection\.sni$/u);
    const speaksOfSni = sni.wanted.length + sni.unwanted.length > 0;
    // Where no rule looks, one way to come is enough: connections are dear, requests are not.
    const speaksOfIp =
      /^(source|remote|destination)\.ip$/mu.test(way.when.map(({ key }) => key).join('\n')) ||
      Object.keys(way.source).some((field) => /ipBlocks/iu.test(field));
    return fc
      .record({
        peer: peer(way, suspects(quarantine)),
        ipv6: fc.integer({ min: 0, max: speaksOfIp ? 4 : 30 }).map((dice) => dice === 0),
        source: speaksOfIp ? fc.constantFrom(...CLIENT_ADDRESSES) : fc.constant(CLIENT_ADDRESSES[0] ?? ''),
        sni: speaksOfSni ? near(sni, ['', '', 'a.sni', 'A.sni']).map(hostName) : fc.constant(undefined),
        http: fc.constantFrom<1 | 2>(1, 1, 2),
        method: near(aim('methods', /^request\.headers\[:method\]$/u), ['GET', 'POST', 'PUT']).filter(
          (name) => /^[A-Za-z-]+$/u.test(name) && name !== 'CONNECT',
        ),
        path: near(aim('paths', /^request\.headers\[:path\]$/u), [...PATHS, '/q'], pathNeighbours),
        host: near(aim('hosts', /^request\.headers\[(host|:authority)\]$/u), [
          'a.example',
          'zz',
          `a.example:${PORT}`,
        ]),
        headers: headers(way),
        claims: authentications.length === 0 ? claims(way) : fc.constant(undefined),
        tokens: tokens(authentications, claims(way)),
        metadata: metadata(way, protocol),
        authorizer: custom ? fc.constantFrom('ALLOW', 'ALLOW', 'DENY') : fc.constant(undefined),
        proxied: fc.oneof(
          { weight: speaksOfRemote ? 2 : 19, arbitrary: fc.constant(undefined) },
          { weight: 1, arbitrary: fc.constantFrom(...FAR_ADDRESSES) },
        ),
        forwardedFor: fc.oneof(
          { weight: speaksOfRemote ? 1 : 9, arbitrary: fc.constant(undefined) },
          {
            weight: speaksOfRemote ? 3 : 1,
            arbitrary: fc.constantFrom(...FAR_ADDRESSES),
          },
        ),
      })
      .map((asked) => sendable(asked, protocol, custom));
  });
}

/** Of clients that somebody else speaks for. */
const FAR_ADDRESSES = [
  '10.1.2.3',
  '127.77.1.1',
  '2001:db8::1',
  '10.1.2.4',
  '2001:db9::1',
  '::2',
  '::ffff:127.77.1.1',
];

const metadataValue = fc.constantFrom<unknown>(
  ...['v', 'w', 'vw', 'wv', 'V', 'é', '', '1', 1, true, null],
  ...[['v', 'w'], ['vw'], [], [''], ['V', 1], [['v']], { v: 'v' }],
);

/** Dynamic metadata; seldom where no rule asks for it. */
function metadata(way: Way, protocol: PolicySet['protocol']): fc.Arbitrary<Asked['metadata']> {
  const mine = METADATA.filter((entry) => entry.protocol === protocol);
  const asked = way.when.some(({ key }) => key.startsWith('experimental.'));
  const entries = mine.map(({ name, key }) => {
    const named = way.when.some((condition) => condition.key === metadataKey(name, key));
    const value =
      protocol === 'http' ? metadataValue : fc.constantFrom<unknown>('v', 'w', 'vw', 'V', '1', 'é');
    const absent = { weight: named ? 1 : 4, arbitrary: fc.constant(undefined) };
    return fc.oneof(absent, { weight: 4, arbitrary: value.map((found) => ({ name, key, found })) });
  });
  const some = fc.tuple(...entries).map((list) => {
    const written: Record<string, Record<string, unknown>> = {};
    for (const entry of list) if (entry) (written[entry.name] ??= {})[entry.key] = entry.found;
    return Object.keys(written).length === 0 ? undefined : written;
  });
  return fc.oneof(
    { weight: asked ? 1 : 19, arbitrary: fc.constant(undefined) },
    { weight: asked ? 9 : 1, arbitrary: some },
  );
}

const claim = fc.constantFrom<unknown>(
  ...['v', 'w', 'vw', 'u', 'V', 'é', '', '1', 1, true, null],
  ...[['v', 'w'], ['vw'], [], ['V', 1, 'u'], [['v']], { b: 'v' }],
);

/** Of a token; seldom one where no rule asks for it. */
function claims(way: Way): fc.Arbitrary<Asked['claims']> {
  const asked =
    way.when.some(({ key }) => key.startsWith('request.auth.')) ||
    Object.keys(way.source).some((field) => /requestPrincipals/iu.test(field));
  const payload = fc.record(
    {
      iss: fc.constantFrom('i', 'i', 'https://i.example', 'j', ''),
      sub: fc.constantFrom('u', 'u', 'v', 'vw', 'U', '', 'x/u'),
      aud: fc.constantFrom<unknown>('v', ['v', 'w'], ['u'], 'V', 'w'),
      azp: fc.constantFrom('v', 'w', 'vw'),
      groups: claim,
      a: fc.oneof(fc.record({ b: claim, c: claim }, { requiredKeys: [] }), claim),
      'a.b': claim,
    },
    { requiredKeys: [] },
  );
  return fc.oneof(
    { weight: asked ? 1 : 19, arbitrary: fc.constant(undefined) },
    { weight: asked ? 5 : 1, arbitrary: payload },
  );
}

/** What TLS can carry as a server's name. */
function hostName(text: string): string | undefined {
  return /^[\w-]+(\.[\w-]+)*$/u.test(text) ? text : undefined;
}

/** The nearest question that can be sent at all, and that says nothing twice. */
function sendable(asked: Asked, protocol: PolicySet['protocol'], custom: boolean): Asked {
  const known = asked.peer.kind === 'svid' && !asked.ipv6;
  // A connection's metadata come in the header that names its client.
  const carried = protocol === 'tcp' && asked.metadata !== undefined;
  const proxied = known ? (asked.proxied ?? (carried ? '10.1.2.3' : undefined)) : undefined;
  const http = asked.peer.kind === 'plaintext' ? 1 : asked.http;
  // The authorizer's own reader of HTTP/1.1 may be asked about the request.
  const method = (http === 1 || custom) && !HTTP1_METHODS.has(asked.method) ? 'GET' : asked.method;
  return {
    ...asked,
    http,
    method,
    path: pathOf(asked),
    headers: asked.headers.filter(([name]) => !taken(name, asked)),
    host: isWord(asked.host) ? asked.host : 'a.example',
    proxied,
    metadata: carried && proxied === undefined ? undefined : asked.metadata,
    forwardedFor: known && protocol === 'http' && proxied === undefined ? asked.forwardedFor : undefined,
  };
}

/** A path that a parameter can be put behind, where a token is one. */
function pathOf({ path, tokens: sent = [] }: Asked): string {
  const word = isWord(path) ? path : '/a';
  return sent.some(({ place }) => place.kind === 'param') ? (/^[^?#]+/u.exec(word)?.[0] ?? '/a') : word;
}

/** A header in which a token stands has no other value. */
function taken(name: string, { tokens: sent = [] }: Asked): boolean {
  return sent.some(({ place }) => (place.kind === 'cookie' ? 'cookie' : place.name) === name.toLowerCase());
}
