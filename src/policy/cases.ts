import { judge, type Circumstances, type Documents } from './authn/judgement.ts';
import { Findings } from './findings.ts';
import { parseIp } from './ip.ts';
import { describe, isFields, quote, readFields, readList, readStrings, type Fields } from './shape.ts';
import { parseTime } from './validity.ts';
import { couldNotTell } from './unsaid.ts';
import type { Decision, Issue, MeshSettings, Protocol, Request, Unsaid } from './types.ts';

/** What somebody expects of the policies: one request, one verdict. */
export interface PolicyCase {
  readonly name: string;
  /** Path of the case in its document: `cases[3]`. */
  readonly path: string;
  readonly namespace: string;
  /** The called pod by name, and the labels that it would have. */
  readonly pod: string;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly request: Request;
  readonly expect: 'ALLOW' | 'DENY';
  /** `<namespace>/<name>` of the policy that has to decide it. */
  readonly by: string | undefined;
}

export type ParsedCases =
  | { readonly ok: true; readonly cases: readonly PolicyCase[]; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };

const KNOWN = [
  ...[
    'name',
    'from',
    'to',
    'labels',
    'expect',
    'by',
    'protocol',
    'method',
    'path',
    'host',
    'headers',
    'port',
  ],
  ...['sourceIp', 'remoteIp', 'destinationIp', 'sni', 'claims', 'filterMetadata', 'authorizerSays', 'at'],
];
/** Of one entry with lists. */
const MAX_COMBINATIONS = 1_000;
const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/;

/**
 * Checks a document of expectations: `cases`, each with `from`, `to`, `method`, `path` and what is expected. `from`,
 * `to`, `method` and `path` may be lists: then every combination is a case. Never throws.
 */
export function parseCases(
  document: unknown,
  { trustDomain }: Pick<MeshSettings, 'trustDomain'>,
): ParsedCases {
  const findings = new Findings();
  const fields = readFields(document, '', { known: ['cases'] }, findings);
  const list = fields && readList(fields['cases'], 'cases', findings, 'write at least one case');
  const cases = (list ?? []).flatMap((entry, index) =>
    readCase(entry, { path: `cases[${index}]`, trustDomain, findings }),
  );
  return findings.failed
    ? { ok: false, issues: findings.issues }
    : { ok: true, cases, issues: findings.issues };
}

export interface CaseResult {
  readonly case: PolicyCase;
  readonly passed: boolean;
  readonly decision: Decision;
  /** What came instead, in words; empty: it passed. */
  readonly message: string;
}

/** What cases are judged by. */
export interface CaseWorld extends Documents, Circumstances {
  /** Labels of a pod, where it is known. */
  readonly labelsOf: (namespace: string, pod: string) => Readonly<Record<string, string>> | undefined;
}

/** `namespace/name` of a document that reaches a namespace, and there only some pods. */
export function selectiveOf(
  { policies, requestAuthentications, peerAuthentications }: Documents,
  namespace: string,
  { rootNamespace }: Pick<MeshSettings, 'rootNamespace'>,
): string | undefined {
  const found = [...policies, ...requestAuthentications, ...peerAuthentications].find(
    (each) =>
      (each.namespace === namespace || each.namespace === rootNamespace) &&
      Object.keys(each.selector).length > 0,
  );
  return found && `${found.namespace}/${found.name}`;
}

export function runCase(each: PolicyCase, world: CaseWorld): CaseResult {
  const { namespace, pod, request, by } = each;
  const labels = each.labels ?? world.labelsOf(namespace, pod);
  const decision = judge(world, { namespace, labels: labels ?? {} }, request, world);
  const { verdict, decidedBy, reason, asks, undecided } = decision;
  const result = (message: string): CaseResult => ({ case: each, passed: message === '', decision, message });
  const selective = labels === undefined ? selectiveOf(world, namespace, world.settings) : undefined;
  if (selective !== undefined)
    return result(
      `could not tell: there is no Pod ${namespace}/${pod} in the manifests, and ${selective} selects by labels: add the Pod, or give its labels by labels`,
    );
  if (undecided !== undefined) return result(couldNotTell(undecided, FIELDS));
  if (verdict !== each.expect) return result(`expected ${each.expect}, got ${verdict}: ${reason}`);
  if (verdict === 'ALLOW' && asks !== undefined && request.authorizerSays === undefined)
    return result(`depends on what ${asks.provider} answers: state it by authorizerSays`);
  const found = decidedBy && `${decidedBy.namespace}/${decidedBy.policy}`;
  if (by !== undefined && by !== found)
    return result(`expected ${verdict} by ${by}, got it by ${found ?? 'no policy'}: ${reason}`);
  return result('');
}

const FIELDS: Readonly<Record<Unsaid, string>> = {
  'source.ip': 'sourceIp',
  'remote.ip': 'remoteIp',
  'destination.ip': 'destinationIp',
  'destination.port': 'port',
  'request.host': 'host',
  'request.method': 'method',
  'request.path': 'path',
};

interface Reading {
  readonly path: string;
  readonly trustDomain: string;
  readonly findings: Findings;
}

function readCase(value: unknown, reading: Reading): PolicyCase[] {
  const { path, findings } = reading;
  const fields = readFields(value, path, { known: KNOWN }, findings);
  if (fields === undefined) return [];
  const protocol = oneOf(fields['protocol'] ?? 'http', ['http', 'tcp'], `${path}.protocol`, findings);
  const callers = texts(fields['from'] ?? 'nobody', `${path}.from`, findings).map((text) =>
    readCaller(text, reading),
  );
  const targets = texts(fields['to'], `${path}.to`, findings).map((text) => readTarget(text, reading));
  const methods = texts(fields['method'] ?? 'GET', `${path}.method`, findings);
  const paths = texts(fields['path'] ?? '/', `${path}.path`, findings);
  const expected = oneOf(fields['expect'], ['allow', 'deny'], `${path}.expect`, findings);
  const labels =
    fields['labels'] === undefined ? undefined : readStrings(fields['labels'], `${path}.labels`, findings);
  const by = optionalText(fields['by'], `${path}.by`, findings);
  const name = optionalText(fields['name'], `${path}.name`, findings);
  const rest = readRest(fields, protocol === 'tcp' ? 'tcp' : 'http', reading);
  const count = callers.length * targets.length * methods.length * paths.length;
  if (count > MAX_COMBINATIONS) {
    findings.error(path, `its lists combine to ${count} cases; at most ${MAX_COMBINATIONS}: split it`);
    return [];
  }
  return callers.flatMap((caller) =>
    targets.flatMap((target) =>
      methods.flatMap((method) =>
        paths.map((at): PolicyCase => {
          const what = protocol === 'tcp' ? 'connects' : `${method} ${at}`;
          const words = `${caller ?? 'nobody'} -> ${target.namespace}/${target.pod}: ${what}`;
          return {
            name:
              count === 1 && name !== undefined ? name : name === undefined ? words : `${name} (${words})`,
            path,
            namespace: target.namespace,
            pod: target.pod,
            labels,
            request: { ...rest, principal: caller, method, path: at },
            expect: expected === 'allow' ? 'ALLOW' : 'DENY',
            by,
          };
        }),
      ),
    ),
  );
}

function readRest(fields: Fields, protocol: Protocol, { path, findings }: Reading): Request {
  const address = (name: string): string | undefined => {
    const text = optionalText(fields[name], `${path}.${name}`, findings);
    if (text !== undefined && parseIp(text) === undefined)
      findings.error(`${path}.${name}`, `${quote(text)} is no IP address`);
    return text;
  };
  const [says, at, port] = [fields['authorizerSays'], fields['at'], fields['port']];
  const answer =
    says === undefined ? says : oneOf(says, ['allow', 'deny'], `${path}.authorizerSays`, findings);
  const nowMs = typeof at === 'string' ? parseTime(at) : undefined;
  if (at !== undefined && nowMs === undefined)
    findings.error(`${path}.at`, `expected a time such as "2027-01-31T18:00:00Z", found ${describe(at)}`);
  if (port !== undefined && !(Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65_535))
    findings.error(`${path}.port`, `expected a number from 1 to 65535, found ${describe(port)}`);
  const filterMetadata = optionalMapping(fields['filterMetadata'], `${path}.filterMetadata`, findings);
  const claims = optionalMapping(fields['claims'], `${path}.claims`, findings);
  return {
    protocol,
    principal: undefined,
    sourceIp: address('sourceIp'),
    remoteIp: address('remoteIp'),
    destinationIp: address('destinationIp'),
    destinationPort: typeof port === 'number' ? port : undefined,
    sni: optionalText(fields['sni'], `${path}.sni`, findings),
    method: undefined,
    path: undefined,
    host: optionalText(fields['host'], `${path}.host`, findings),
    headers: readHeaders(fields['headers'], `${path}.headers`, findings),
    ...(claims && { claims }),
    ...(filterMetadata && { filterMetadata }),
    ...(answer !== undefined && { authorizerSays: answer === 'allow' ? 'ALLOW' : 'DENY' }),
    ...(nowMs !== undefined && { nowMs }),
  };
}

/** A SPIFFE ID, `<namespace>/<service account>` of the mesh's trust domain, or `nobody`. */
function readCaller(text: string, { path, trustDomain, findings }: Reading): string | undefined {
  if (text === 'nobody') return undefined;
  const [, namespace, account] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(text) ?? [];
  if (namespace !== undefined && account !== undefined)
    return `spiffe://${trustDomain}/ns/${namespace}/sa/${account}`;
  if (!SPIFFE_ID.test(text)) {
    findings.error(
      `${path}.from`,
      `${quote(text)} is no caller; write <namespace>/<service account>, a SPIFFE ID, or nobody`,
    );
  }
  return text;
}

function readTarget(text: string, { path, findings }: Reading): { namespace: string; pod: string } {
  const [, namespace, pod] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(text) ?? [];
  if (namespace !== undefined && pod !== undefined) return { namespace, pod };
  findings.error(`${path}.to`, `${quote(text)} is no pod; write <namespace>/<pod>`);
  return { namespace: '', pod: '' };
}

function readHeaders(value: unknown, path: string, findings: Findings): Record<string, readonly string[]> {
  if (value === undefined) return {};
  if (!isFields(value)) {
    findings.error(path, `expected a mapping of names and values, found ${describe(value)}`);
    return {};
  }
  return Object.fromEntries(
    Object.keys(value).map((name) => [name.toLowerCase(), texts(value[name], `${path}.${name}`, findings)]),
  );
}

function texts(value: unknown, path: string, findings: Findings): readonly string[] {
  const list = Array.isArray(value) ? (readList(value, path, findings, 'write at least one') ?? []) : [value];
  return list.flatMap((entry) => {
    if (typeof entry === 'string') return [entry];
    findings.error(path, `expected a text or a list of texts, found ${describe(entry)}`);
    return [];
  });
}

function optionalText(value: unknown, path: string, findings: Findings): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  findings.error(path, `expected a text, found ${describe(value)}; put it in quotes`);
  return undefined;
}

function optionalMapping(value: unknown, path: string, findings: Findings): Fields | undefined {
  if (value === undefined || isFields(value)) return value;
  findings.error(path, `expected a mapping, found ${describe(value)}`);
  return undefined;
}

function oneOf<T extends string>(
  value: unknown,
  allowed: readonly T[],
  path: string,
  findings: Findings,
): T | undefined {
  const found = allowed.find((each) => each === value);
  if (found === undefined) findings.error(path, `expected ${allowed.join(' or ')}, found ${describe(value)}`);
  return found;
}
