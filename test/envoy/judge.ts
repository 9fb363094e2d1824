import { parseAllDocuments } from 'yaml';
import {
  Evaluator,
  parseAuthorizationPolicy,
  policiesFor,
  ruleName,
  type AuthorizationPolicy,
  type Decision,
  type MeshSettings,
  type RuleRef,
} from '../../src/policy/index.ts';
import type { AccessLogLine } from '../harness/envoy.ts';
import { exchange } from '../harness/tcp.ts';
import { waitFor } from '../harness/wait.ts';
import { inboundPorts, trustDomain, type TestMesh } from './mesh.ts';

export interface Asked {
  readonly from: string;
  readonly method?: string;
  /** Without `n`, which is added to tell requests apart. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One verdict, in the same words whoever gave it. Rules by their names inside Envoy. */
export interface Verdict {
  readonly verdict: 'ALLOW' | 'DENY';
  readonly rule: string | undefined;
  readonly audited: string | undefined;
  readonly shadow: { readonly verdict: 'ALLOW' | 'DENY'; readonly rule: string | undefined } | undefined;
}

/** Of a TCP connection Envoy's log names the rule only where it denies. */
export interface TcpAnswer {
  readonly back: string;
  /** `none`: no ALLOW rule matched. */
  readonly deniedBy: string | undefined;
  readonly shadowDeniedBy: string | undefined;
  readonly evaluator: Verdict;
  readonly auditedBy: string | undefined;
}

const settings: MeshSettings = { trustDomain, rootNamespace: 'countersign-system', defaultAction: 'deny' };

let asked = 0;

/** Asks the real Envoy of a pod and the evaluator the same question. */
export class Judge {
  readonly #mesh: TestMesh;
  readonly #callee: string;
  readonly #policies: readonly AuthorizationPolicy[];
  readonly #evaluator: Evaluator;

  /** @param policies the YAML documents that the control plane was given */
  constructor(mesh: TestMesh, callee: string, policies: readonly string[]) {
    this.#mesh = mesh;
    this.#callee = callee;
    const [namespace = '', app = ''] = callee.split('/');
    this.#policies = policiesFor(policies.flatMap(parsePolicies), { namespace, labels: { app } }, settings);
    this.#evaluator = new Evaluator(this.#policies, { settings });
  }

  async ask({ from, method = 'GET', path, headers = {} }: Asked): Promise<{
    readonly status: number;
    readonly envoy: Verdict;
    readonly evaluator: Verdict;
  }> {
    asked += 1;
    const number = `n=${asked}`;
    const numbered = `${path}${path.includes('?') ? '&' : '?'}${number}`;
    const { status } = await this.#mesh.call(from, { method, path: numbered, headers });
    const { host, port } = this.#mesh.wayOut(from);
    const decision = this.#evaluator.decide({
      protocol: 'http',
      principal: this.#mesh.id(from),
      sourceIp: this.#mesh.ip(from),
      remoteIp: undefined,
      destinationIp: this.#mesh.ip(this.#callee),
      destinationPort: inboundPorts.http,
      sni: undefined,
      method,
      path: numbered,
      host: headers['host'] ?? `${host}:${port}`,
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name.toLowerCase(), [value]]),
      ),
    });
    return { status, envoy: await this.#seen(status, number), evaluator: verdictOf(decision) };
  }

  /** A TCP connection that says something, and what came back. One at a time for each caller. */
  async askTcp(from: string, way: number): Promise<TcpAnswer> {
    const mine = ({ source, method }: AccessLogLine): boolean =>
      method === undefined && source === this.#mesh.id(from);
    const before = this.#mesh.envoy(this.#callee).accessLog().filter(mine);
    const back = await exchange({ ...this.#mesh.wayOut(from, way), text: 'hello' });
    const decision = this.#evaluator.decide({
      protocol: 'tcp',
      principal: this.#mesh.id(from),
      sourceIp: this.#mesh.ip(from),
      remoteIp: undefined,
      destinationIp: this.#mesh.ip(this.#callee),
      destinationPort: inboundPorts.tcp,
      sni: undefined,
      method: undefined,
      path: undefined,
      host: undefined,
      headers: {},
    });
    const line = await waitFor(
      `the connection of ${from} in the access log`,
      () => this.#mesh.envoy(this.#callee).accessLog().filter(mine)[before.length],
    );
    const rule = /^rbac_access_denied_matched_policy\[(.+)\]$/u.exec(line.details ?? '')?.[1];
    return {
      back,
      deniedBy: rule,
      shadowDeniedBy: line.shadow_denied_by ?? undefined,
      auditedBy: line.audited_by ?? undefined,
      evaluator: verdictOf(decision),
    };
  }

  async #seen(status: number, number: string): Promise<Verdict> {
    // Refused as malformed by the caller's own sidecar: no rule was ever asked.
    if (status === 400) return { verdict: 'DENY', rule: undefined, audited: undefined, shadow: undefined };
    const line = await this.#mesh
      .envoy(this.#callee)
      .logged(({ path }) => path?.endsWith(number) === true && /[?&]$/u.test(path.slice(0, -number.length)));
    return {
      verdict: line.status === 403 ? 'DENY' : 'ALLOW',
      rule: line.denied_by ?? line.allowed_by ?? undefined,
      audited: line.audited_by ?? undefined,
      shadow: this.#shadow(line),
    };
  }

  /** What the log says of the shadow policies; those of the allow filter stand beside the enforced ones. */
  #shadow(line: AccessLogLine): Verdict['shadow'] {
    const tried = this.#policies.filter(({ mode, action }) => mode === 'Shadow' && action !== 'AUDIT');
    if (tried.length === 0) return undefined;
    const [denied] = [line.denied_by, line.shadow_denied_by]
      .filter((name) => typeof name === 'string')
      .sort();
    if (denied !== undefined) return { verdict: 'DENY', rule: denied };
    const allowed = tried.some(({ action }) => action === 'ALLOW') ? line.shadow_allowed_by : line.allowed_by;
    return { verdict: typeof allowed === 'string' ? 'ALLOW' : 'DENY', rule: allowed ?? undefined };
  }
}

function verdictOf({ verdict, decidedBy, audited, shadow }: Decision): Verdict {
  return {
    verdict,
    rule: nameOf(decidedBy),
    audited: nameOf(audited[0]),
    shadow: shadow && { verdict: shadow.verdict, rule: nameOf(shadow.decidedBy) },
  };
}

function nameOf(rule: RuleRef | undefined): string | undefined {
  return rule && ruleName(rule);
}

/** The AuthorizationPolicies of a YAML text. */
export function parsePolicies(text: string): AuthorizationPolicy[] {
  return parseAllDocuments(text).map((document) => {
    const parsed = parseAuthorizationPolicy(document.toJS());
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    return parsed.policy;
  });
}
