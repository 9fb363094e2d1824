import { hash } from 'node:crypto';
import {
  compile,
  Evaluator,
  normalizePath,
  type AuthorizationPolicy,
  type MeshSettings,
  type Request,
} from '../../src/policy/index.ts';
import { Mesh, type MeshObject } from '../../src/mesh/index.ts';
import { ResourceEncoder, WorkloadFilters, type FilterSet } from '../../src/proxy/index.ts';
import { envoySchema } from '../../cmd/schema.ts';
import type { BenchSize } from './options.ts';
import {
  anybodyPolicies,
  callerOf,
  callerPolicies,
  openPolicy,
  policySet,
  requestOf,
  type PolicySet,
} from './policy-set.ts';
import { compareRates, type RatePair } from './rates.ts';
import { row, type Row } from './row.ts';

const settings: MeshSettings = {
  trustDomain: 'cluster.local',
  rootNamespace: 'countersign-system',
  defaultAction: 'deny',
};
const RULES = 1_000;
const compileLimit =
  'JSON.stringify and SHA-256 of the same filters, compiled before; rounds of both take turns';
const evaluateLimit = 'a closure written by hand that normalizes the path and asks the one rule that decides';

/** Filters of a whole mesh from nothing, and after one policy changed. */
export function compileRows(size: BenchSize): readonly Row[] {
  const set = policySet(size.namespaces);
  const what = `${set.policies.length} policies of ${size.namespaces} namespaces`;
  const encoder = new ResourceEncoder(envoySchema());
  const common = { unit: 'ms', better: 'lower', limitIs: compileLimit } as const;
  const mesh = meshOf(set.policies);
  const change = changed(set, encoder);
  return [
    row({
      ...common,
      name: 'policy-compile',
      what: `${what} for ${set.workloads.length} workloads, from nothing`,
      ...times(
        compareRates(
          written(lists(mesh, set.workloads)),
          () => {
            // Copies: nothing that is known of a policy object holds for them.
            const fresh = meshOf(set.policies.map((policy) => ({ ...policy })));
            filtersOf(workloadFilters(fresh, encoder), set.workloads);
          },
          { ...size, batch: 1 },
        ),
      ),
    }),
    row({
      ...common,
      name: 'policy-change-compile',
      what: 'the same, one policy of 50 workloads changed',
      ...times(compareRates(written(change.lists), change.next, { ...size, batch: 1 })),
    }),
  ];
}

/** Decisions about one workload with many rules. */
export function evaluateRows(size: BenchSize): readonly Row[] {
  const evaluator = new Evaluator(callerPolicies(RULES), { settings });
  const requests = Array.from({ length: 100 }, (_, at) => {
    const rule = (at * 37) % RULES;
    return { allowed: requestOf(callerOf(rule), rule), denied: requestOf(callerOf(RULES + at), rule), rule };
  });
  const common = { unit: 'per CPU second', better: 'higher', limitIs: evaluateLimit } as const;
  const asked = (which: 'allowed' | 'denied'): RatePair => {
    const verdict = which === 'allowed' ? 'ALLOW' : 'DENY';
    const judged = requests.map((request) => ({ request: request[which], rule: request.rule }));
    return compareRates(
      inTurn(
        judged.map(({ request, rule }) => [request, byHand(rule)]),
        (byHandTest, request) => {
          if (byHandTest(request) !== (verdict === 'ALLOW')) throw new Error(`by hand: not ${verdict}`);
        },
      ),
      inTurn(
        judged.map(({ request }) => [request, evaluator]),
        (product, request) => {
          if (product.decide(request).verdict !== verdict) throw new Error(`evaluated: not ${verdict}`);
        },
      ),
      { ...size, batch: 100 },
    );
  };
  const denied = (by: 'path' | 'host' | 'port' | 'block'): Row => {
    const other = new Evaluator(anybodyPolicies(RULES, by), { settings });
    const stranger = requests.map(({ denied: request }) => ({ ...request, path: '/other/1' }));
    const byHandTest = byHand(0);
    const rates = compareRates(
      inTurn(
        stranger.map((request) => [request, byHandTest]),
        (test, request) => {
          if (test(request)) throw new Error('by hand: not DENY');
        },
      ),
      inTurn(
        stranger.map((request) => [request, other]),
        (product, request) => {
          if (product.decide(request).verdict !== 'DENY') throw new Error('evaluated: not DENY');
        },
      ),
      { ...size, batch: 100 },
    );
    const what = `the same, rules for anybody, each for one ${by}`;
    return row({ ...common, name: `evaluate-${by}`, what, ...rates });
  };
  return [
    row({ ...common, name: 'evaluate', what: `decisions over ${RULES} rules, allowed`, ...asked('allowed') }),
    row({
      ...common,
      name: 'evaluate-denied',
      what: 'the same, callers whom no rule names',
      ...asked('denied'),
    }),
    ...(['path', 'host', 'port', 'block'] as const).map(denied),
  ];
}

function meshOf(policies: readonly AuthorizationPolicy[]): Mesh {
  const mesh = new Mesh({ rootNamespace: settings.rootNamespace });
  mesh.update(policies.map((policy) => ({ op: 'set', object: objectOf(policy) })));
  return mesh;
}

function objectOf(policy: AuthorizationPolicy): MeshObject {
  return { kind: 'AuthorizationPolicy', namespace: policy.namespace, name: policy.name, policy };
}

function workloadFilters(mesh: Mesh, encoder: ResourceEncoder): WorkloadFilters {
  return new WorkloadFilters(mesh, { encoder, settings, jwksOf: () => undefined });
}

function filtersOf(filters: WorkloadFilters, workloads: PolicySet['workloads']): Set<FilterSet> {
  return new Set(workloads.map((workload) => filters.of(workload, [])));
}

type Lists = readonly (readonly AuthorizationPolicy[])[];

/** The distinct lists of policies that workloads have. */
function lists(mesh: Mesh, workloads: PolicySet['workloads']): Lists {
  const all = workloads.map((workload) => mesh.policiesOf(workload));
  return [...new Map(all.map((list) => [list.map(({ digest }) => digest).join(), list])).values()];
}

/** Writes the filters of these lists down, each filter once. */
function written(of: Lists): () => void {
  const filters = of.flatMap((policies) =>
    (['http', 'tcp'] as const).flatMap((protocol) => {
      const { audit, deny, allow } = compile(policies, { protocol, settings });
      return [audit, deny, allow];
    }),
  );
  const distinct = [...new Map(filters.map((filter) => [JSON.stringify(filter), filter])).values()];
  return () => {
    for (const filter of distinct) hash('sha256', JSON.stringify(filter), 'hex');
  };
}

/** One namespace's policy in a mesh whose filters are there already. */
function changed(
  set: PolicySet,
  encoder: ResourceEncoder,
): { readonly lists: Lists; readonly next: () => void } {
  const mesh = meshOf(set.policies);
  const filters = workloadFilters(mesh, encoder);
  filtersOf(filters, set.workloads);
  const namespace = 'team-0';
  const touched = set.workloads.filter((workload) => workload.namespace === namespace);
  let version = 0;
  return {
    lists: lists(mesh, touched),
    next: () => {
      version += 1;
      mesh.update([{ op: 'set', object: objectOf(openPolicy(namespace, `/metrics/${version}`)) }]);
      filtersOf(filters, touched);
    },
  };
}

/** The rule of {@link callerPolicies} at this place, as one would write it for it alone. */
function byHand(rule: number): (request: Request) => boolean {
  const [caller, exact, below] = [callerOf(rule), `/orders/${rule}`, `/orders/${rule}/`];
  return ({ principal, method, path }) => {
    const normal = normalizePath(path ?? '/', 'reject');
    if (normal === undefined || principal !== caller || (method !== 'GET' && method !== 'POST')) return false;
    return normal === exact || normal.startsWith(below);
  };
}

function inTurn<T>(
  asked: readonly (readonly [Request, T])[],
  ask: (whom: T, request: Request) => void,
): () => void {
  let at = 0;
  return () => {
    const next = asked[at % asked.length];
    at += 1;
    if (next !== undefined) ask(next[1], next[0]);
  };
}

/** Milliseconds of CPU instead of operations a second. */
function times({ value, limit, ofLimit }: RatePair): RatePair {
  return { value: 1_000 / value, limit: 1_000 / limit, ofLimit };
}
