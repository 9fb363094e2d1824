import { asciiLower, type Facts } from './facts.ts';
import { parseBlockAddress, unmapped, type Ip } from './ip.ts';
import type { Clause, Matcher, Rule, Term } from './types.ts';

/** Something that a request must show for a rule to match it. */
interface Key {
  readonly id: string;
  /** More: shown by fewer requests, as policies go. */
  readonly rank: number;
}

const ANYTHING: Key = { id: 'anything', rank: 0 };
const PROVEN: Key = { id: 'proven', rank: 1 };

const RANKS: Readonly<Partial<Record<Term['attribute']['kind'], number>>> = {
  'source.trustDomain': 2,
  'destination.port': 3,
  'destination.ip': 4,
  'request.host': 5,
  'source.ip': 6,
  'remote.ip': 6,
  'request.path': 7,
  'source.namespace': 8,
  'source.serviceAccount': 9,
  'source.principal': 10,
};

/** Bytes of an address by which blocks are kept: a block stands under the most of them that it fixes. */
const BLOCKS = { 4: [3, 2, 1], 16: [8, 6, 4] } as const;
/** Whole segments of a path by which rules are kept. */
const SEGMENTS = 2;

/** All that a rule can be found by: a request that shows none of these is none that it matches. */
export function keysOf({ from, to, when }: Rule): readonly string[] {
  // Sources are alternatives, and so are operations; conditions hold for all of them.
  const alternatives = (clauses: readonly Clause[]): readonly Key[] =>
    clauses.length === 0 ? [ANYTHING] : clauses.flatMap(clauseKeys);
  const keys = [alternatives(from), alternatives(to), clauseKeys(when)].reduce(narrower);
  return [...new Set(keys.map(({ id }) => id))];
}

/** The attribute that a key speaks of. */
export function kindOf(key: string): string {
  const end = key.indexOf('=');
  return end < 0 ? key : key.slice(0, end);
}

/** What a request shows. @param kinds of the keys that anybody asks for */
export function shownBy(facts: Facts, kinds: ReadonlySet<string>): readonly string[] {
  const { principal } = facts;
  const keys = [ANYTHING.id];
  if (kinds.has('request.path')) pathKeys(facts.path, keys);
  if (kinds.has('request.host')) keys.push(`request.host=${facts.host}`);
  if (kinds.has('destination.port')) keys.push(`destination.port=${facts.port}`);
  if (kinds.has('source.ip')) addressKeys('source.ip', facts.sourceIp, keys);
  if (kinds.has('remote.ip')) addressKeys('remote.ip', facts.remoteIp, keys);
  if (kinds.has('destination.ip')) addressKeys('destination.ip', facts.destinationIp, keys);
  if (principal === '') return keys;
  keys.push(
    PROVEN.id,
    `source.principal=${principal}`,
    `source.namespace=${facts.namespace}`,
    `source.serviceAccount=${facts.serviceAccount}`,
    `source.trustDomain=${facts.trustDomain}`,
  );
  return keys;
}

/** Its first segments: one, two ... */
function pathKeys(path: string, keys: string[]): void {
  let end = 0;
  for (let depth = 1; depth <= SEGMENTS && end >= 0; depth += 1) {
    end = path.indexOf('/', end + 1);
    keys.push(`request.path=${end < 0 ? path : path.slice(0, end)}`);
  }
}

/** A mapped address lies in IPv4 and in IPv6 blocks. */
function addressKeys(kind: string, ip: Ip | undefined, keys: string[]): void {
  if (ip === undefined) return;
  const four = unmapped(ip);
  for (const each of four === ip ? [ip] : [ip, four]) {
    const bytes = each.toByteArray();
    for (const length of BLOCKS[bytes.length === 4 ? 4 : 16]) keys.push(blockKey(kind, bytes, length));
  }
}

function blockKey(kind: string, bytes: readonly number[], length: number): string {
  return `${kind}=${bytes.length}:${bytes.slice(0, length).join('.')}`;
}

/** All terms must hold, so the narrowest will do. */
function clauseKeys(clause: Clause): readonly Key[] {
  return clause.map(termKeys).reduce(narrower, [ANYTHING]);
}

function narrower(a: readonly Key[], b: readonly Key[]): readonly Key[] {
  const rank = (keys: readonly Key[]): number => Math.min(...keys.map((key) => key.rank));
  return rank(b) > rank(a) ? b : a;
}

function termKeys({ attribute: { kind }, values }: Term): readonly Key[] {
  const rank = RANKS[kind];
  if (rank === undefined || values.length === 0) return [ANYTHING];
  return values.map((matcher) => {
    const id = idOf(kind, matcher);
    if (id !== undefined) return { id: `${kind}=${id}`, rank };
    return kind.startsWith('source.') && needsIdentity(matcher) ? PROVEN : ANYTHING;
  });
}

/** undefined: what matches has no one name. */
function idOf(kind: Term['attribute']['kind'], matcher: Matcher): string | undefined {
  switch (matcher.kind) {
    case 'serviceAccount':
      return `${matcher.namespace}/${matcher.name}`;
    case 'port':
      return String(matcher.value);
    case 'cidr':
      return blockId(matcher);
    case 'template':
      return pathId(matcher.value.slice(0, matcher.value.indexOf('{')), false);
    case 'prefix':
      return kind === 'request.path' ? pathId(matcher.value, false) : undefined;
    case 'exact':
      if (kind === 'request.path') return pathId(matcher.value, true);
      if (kind === 'request.host') return asciiLower(matcher.value);
      // Nobody's empty name would be everybody's who has none.
      if (matcher.value === '') return undefined;
      return kind === 'source.principal' ? `spiffe://${matcher.value}` : matcher.value;
    default:
      return undefined;
  }
}

function needsIdentity(matcher: Matcher): boolean {
  if (matcher.kind === 'present') return true;
  return (matcher.kind === 'prefix' || matcher.kind === 'suffix') && matcher.value !== '';
}

function blockId({ address, prefixLength }: Extract<Matcher, { kind: 'cidr' }>): string | undefined {
  const bytes = parseBlockAddress(address).toByteArray();
  const length = BLOCKS[bytes.length === 4 ? 4 : 16].find((each) => each * 8 <= prefixLength);
  return length === undefined ? undefined : blockKey('', bytes, length).slice(1);
}

/** The first segments that every path with this text, or beginning with it, has. */
function pathId(text: string, whole: boolean): string | undefined {
  if (!text.startsWith('/')) return undefined;
  const segments = text.slice(1).split('/');
  // The last one of a beginning may go on.
  const sure = whole ? segments : segments.slice(0, -1);
  return sure.length === 0 ? undefined : `/${sure.slice(0, SEGMENTS).join('/')}`;
}
