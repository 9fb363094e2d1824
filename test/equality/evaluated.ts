import {
  compile,
  compileRequestAuthentications,
  Evaluator,
  normalizePath,
  parseAuthorizationPolicy,
  parseRequestAuthentication,
  policiesFor,
  quarantineName,
  renderIssues,
  endedName,
  ruleName,
  verifiedRequest,
  type AuthorizationPolicy,
  type CompiledFilters,
  type CompileOptions,
  type Decision,
  type Issue,
  type JwtAuthnFilter,
  type MeshSettings,
  type QuarantineRule,
  type Request,
  type RequestAuthentication,
  type RuleRef,
} from '../../src/policy/index.ts';
import { authenticate, withTokens } from './authenticated.ts';
import type { Asked, PolicySet, Verdict } from './case.ts';
import { destinationOf, doorOf, remoteOf, sourceOf } from './envoy/connect.ts';
import { nameOf as peerName } from './envoy/certificates.ts';
import { AUTHORIZERS, inThisRun, SHOWN } from './world.ts';

/** Whose filters are compiled: a pod that policies of two namespaces select. */
const TARGET = { namespace: 'a', labels: { app: 'x' } };

export type Compiler = (
  policies: readonly AuthorizationPolicy[],
  options: CompileOptions,
) => Pick<CompiledFilters, 'custom' | 'audit' | 'deny' | 'allow'>;

/** A set's policies, read by Countersign's parser, for one port. @throws Error where the parser refuses one */
export class EvaluatedSet {
  readonly set: PolicySet;
  readonly port: number;
  readonly policies: readonly AuthorizationPolicy[];
  readonly authentications: readonly RequestAuthentication[];
  readonly #settings: MeshSettings;
  readonly #quarantine: readonly QuarantineRule[];
  readonly #evaluator: Evaluator;

  constructor(set: PolicySet, port: number) {
    this.set = set;
    this.port = port;
    this.#settings = {
      trustDomain: 'td1',
      rootNamespace: 'root',
      defaultAction: set.defaultAction,
      authorizers: AUTHORIZERS,
      ...(set.aliases === true && { trustDomainAliases: ['td2'] }),
      ...(set.ended === true && { endedTrustDomains: ['td2'] }),
    };
    const { documents, authentications = [], quarantine = [] } = inThisRun(set, port);
    this.#quarantine = quarantine;
    const parsed = documents.map((document) => read(document, parseAuthorizationPolicy(document)));
    this.policies = policiesFor(parsed, TARGET, this.#settings);
    const verifying = authentications.map((document) => read(document, parseRequestAuthentication(document)));
    this.authentications = policiesFor(verifying, TARGET, this.#settings);
    this.#evaluator = new Evaluator(this.policies, {
      settings: this.#settings,
      nowMs: Date.now,
      quarantine,
    });
  }

  compiled(compiler: Compiler = compile): ReturnType<Compiler> {
    const { protocol, portKnown } = this.set;
    return compiler(this.policies, {
      protocol,
      settings: this.#settings,
      quarantine: this.#quarantine,
      ...(portKnown && { port: this.port }),
    });
  }

  /** Absent: nobody's tokens are verified. */
  verifying(): JwtAuthnFilter | undefined {
    return compileRequestAuthentications(this.authentications, () => undefined).filter;
  }

  /** What Countersign's evaluator says. */
  verdict(asked: Asked): Verdict {
    // Tokens keep their texts: they are not copied.
    const here = { ...inThisRun(asked, this.port), tokens: asked.tokens ?? [] };
    const { protocol } = this.set;
    const sent = requestOf({ ...here, ...withTokens(here) }, protocol, this.port);
    const first = this.#evaluator.decide(sent);
    // A reason takes time to find: it is read where the request looks as if it were refused.
    if (looksOdd(sent) && first.reason.includes('Envoy answers 400')) return { verdict: 'REFUSED' };
    const { asks } = first;
    const authorizerSays = asks && answerOf(asks.provider, asked);
    const verifies = this.authentications.length > 0 && authorizerSays !== 'DENY';
    const token = verifies ? authenticate(here, this.authentications) : 'none';
    if (token === 'refused') return { verdict: 'UNAUTHENTICATED', asked: nameOf(asks?.rule) };
    const stated = { ...sent, authorizerSays: authorizerSays ?? 'ALLOW' };
    const taken = token === 'none' ? undefined : token;
    const behind = verifies ? verifiedRequest(stated, this.authentications, taken) : stated;
    const decision = this.#evaluator.decide(stated, behind);
    const { verdict, audited, shadow } = decision;
    return {
      verdict,
      rule: deciding(decision),
      asked: nameOf(asks?.rule),
      audited: nameOf(audited[0]),
      shadow: shadow && { verdict: shadow.verdict, rule: deciding(shadow) },
    };
  }

  /** Shadow policies are there that could change an answer; and an ALLOW policy is among them. */
  get tried(): { readonly any: boolean; readonly allow: boolean } {
    const shadow = this.policies.filter(({ mode, action }) => mode === 'Shadow' && action !== 'AUDIT');
    return { any: shadow.length > 0, allow: shadow.some(({ action }) => action === 'ALLOW') };
  }
}

function looksOdd({ protocol, path, headers }: Request): boolean {
  if (protocol === 'tcp') return false;
  return normalizePath(path ?? '') === undefined || Object.keys(headers).some((name) => name.includes('_'));
}

function read<T>(
  document: unknown,
  parsed: { ok: true; policy: T } | { ok: false; issues: readonly Issue[] },
): T {
  if (parsed.ok) return parsed.policy;
  throw new Error(`${renderIssues(parsed.issues)}\n${JSON.stringify(document)}`);
}

/** What comes of asking: one who is away says nothing, and the mesh's configuration has a word for that. */
function answerOf(provider: string, { authorizer = 'ALLOW' }: Asked): 'ALLOW' | 'DENY' {
  if (provider === 'away') return 'DENY';
  return provider === 'open' ? 'ALLOW' : authorizer;
}

/** What Envoy says decided. */
function deciding({
  decidedBy,
  ended,
  quarantine,
}: Pick<Decision, 'decidedBy' | 'ended' | 'quarantine'>): string | undefined {
  if (ended !== undefined) return endedName(ended);
  return quarantine === undefined ? nameOf(decidedBy) : quarantineName({ entry: quarantine });
}

function nameOf(rule: RuleRef | undefined): string | undefined {
  return rule && ruleName(rule);
}

/** The question as the evaluator takes it. */
export function requestOf(asked: Asked, protocol: 'http' | 'tcp', port: number): Request {
  const door = doorOf(asked, protocol);
  const common = {
    protocol,
    principal: principalOf(asked),
    certificate: SHOWN.get(peerName(asked.peer)),
    sourceIp: sourceOf(asked, door),
    remoteIp: remoteOf(asked, door),
    destinationIp: destinationOf(asked, door),
    destinationPort: port,
    sni: door === 'plaintext' ? undefined : asked.sni,
    ...(asked.metadata && { filterMetadata: asked.metadata }),
  };
  const { method, path, host } = asked;
  if (protocol === 'http') {
    const claims = asked.claims && { claims: asked.claims };
    return { ...common, method, path, host, headers: headersOf(asked), ...claims };
  }
  return { ...common, method: undefined, path: undefined, host: undefined, headers: {} };
}

function principalOf({ peer }: Asked): string | undefined {
  if (peer.kind === 'svid') return peer.id;
  return peer.kind === 'odd' ? (peer.names.uri[0] ?? peer.names.dns[0]) : undefined;
}

/** As Envoy has them once they are read: HTTP/2 makes one header of several cookies (RFC 9113 section 8.2.3). */
function headersOf({ headers, http }: Asked): Record<string, string[]> {
  const byName: Record<string, string[]> = {};
  for (const [name, value] of headers) (byName[name.toLowerCase()] ??= []).push(value);
  const { cookie } = byName;
  if (http === 2 && cookie !== undefined) {
    byName['cookie'] = [cookie.reduce((joined, next) => (joined === '' ? next : `${joined}; ${next}`), '')];
  }
  return byName;
}
