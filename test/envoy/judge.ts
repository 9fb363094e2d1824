import { parseAllDocuments } from 'yaml';
import {
  Evaluator,
  parseAuthorizationPolicy,
  policiesFor,
  ruleName,
  type AuthorizationPolicy,
  type MeshSettings,
  type RuleRef,
} from '../../src/policy/index.ts';
import type { AccessLogLine } from '../harness/envoy.ts';
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
    const { verdict, decidedBy, audited, shadow } = decision;
    return {
      status,
      envoy: await this.#seen(status, number),
      evaluator: {
        verdict,
        rule: nameOf(decidedBy),
        audited: nameOf(audited[0]),
        shadow: shadow && { verdict: shadow.verdict, rule: nameOf(shadow.decidedBy) },
      },
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

function nameOf(rule: RuleRef | undefined): string | undefined {
  return rule && ruleName(rule);
}

function parsePolicies(text: string): AuthorizationPolicy[] {
  return parseAllDocuments(text).map((document) => {
    const parsed = parseAuthorizationPolicy(document.toJS());
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    return parsed.policy;
  });
}
