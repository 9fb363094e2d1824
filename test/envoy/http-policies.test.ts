import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audits, byOperation, bySource, denials, shadows } from './http-policies.ts';
import { Judge, type Asked } from './judge.ts';
import { TestMesh } from './mesh.ts';

const callers = ['web', 'other', 'jobs'] as const;
type Caller = (typeof callers)[number];
const pods: Readonly<Record<Caller, string>> = { web: 'shop/web', other: 'shop/other', jobs: 'batch/jobs' };
const cart = 'shop/cart';

/** `caller[,caller] METHOD path`, and the rule that must decide: `policy/rule`; undefined: denied by default. */
type Row = readonly [request: string, rule: string | undefined, headers?: Readonly<Record<string, string>>];

function source(path: string, rule: number, allowed: readonly Caller[]): Row[] {
  return callers.map((caller) => [
    `${caller} GET ${path}`,
    allowed.includes(caller) ? `by-source/${rule}` : undefined,
  ]);
}

const bySourceRows: readonly Row[] = [
  ...source('/principal/exact', 0, ['web']),
  ...source('/principal/uri', 1, ['web']),
  ...source('/principal/prefix', 2, ['web', 'other']),
  ...source('/principal/suffix', 3, ['jobs']),
  ...source('/principal/any', 4, callers),
  ...source('/principal/not', 5, ['other', 'jobs']),
  ...source('/namespace/exact', 6, ['jobs']),
  ...source('/namespace/prefix', 7, ['web', 'other']),
  ...source('/namespace/suffix', 8, ['jobs']),
  ...source('/namespace/not', 9, ['jobs']),
  ...source('/account/bare', 10, ['web']),
  ...source('/account/full', 11, ['jobs']),
  ...source('/account/not', 12, ['other']),
  ...source('/domain/own', 13, callers),
  ...source('/domain/other', 14, []),
  ...source('/domain/prefix', 15, callers),
  ...source('/domain/not', 16, []),
  ...source('/ip/one', 17, ['web']),
  ...source('/ip/block', 18, ['web']),
  ...source('/ip/not', 19, ['other', 'jobs']),
  ...source('/ip/remote', 20, ['web']),
  ...source('/both', 21, ['web']),
  ...source('/either', 22, ['web', 'jobs']),
  ...source('/when/principal', 23, ['web']),
  ...source('/when/namespace', 24, ['web', 'other']),
  ...source('/when/account', 25, ['jobs']),
  ...source('/when/domain', 26, callers),
  ...source('/when/ip', 27, ['web']),
  ...source('/when/remote', 28, ['other', 'jobs']),
];

const byOperationRows: readonly Row[] = [
  ['web GET /host/exact', 'by-operation/0', { host: 'cart.shop' }],
  ['web GET /host/exact', 'by-operation/0', { host: 'CART.Shop' }],
  ['web GET /host/exact', undefined, { host: 'cart.shop.evil' }],
  ['web GET /host/prefix', 'by-operation/1', { host: 'cart.shop:8080' }],
  ['web GET /host/prefix', undefined, { host: 'a.cart.shop' }],
  ['web GET /host/suffix', 'by-operation/2', { host: 'a.example' }],
  ['web GET /host/suffix', undefined, { host: 'example' }],
  ['web GET /host/not', 'by-operation/3', { host: 'web.shop' }],
  ['web GET /host/not', undefined, { host: 'Cart.shop' }],
  ['web GET /method/exact', 'by-operation/4'],
  ['web PUT /method/exact', 'by-operation/4'],
  ['web POST /method/exact', undefined],
  ['web PATCH /method/prefix', 'by-operation/5'],
  ['web GET /method/prefix', undefined],
  ['web POST /method/not', 'by-operation/6'],
  ['web DELETE /method/not', undefined],
  ['web GET /path/exact', 'by-operation/7'],
  ['web GET /path/exact?secret=1', 'by-operation/7'],
  ['web GET /path/exact/', undefined],
  ['web GET /path/Exact', undefined],
  ['web GET /path/prefix/', 'by-operation/7'],
  ['web GET /path/prefix/a/b', 'by-operation/7'],
  ['web GET /path/prefix', undefined],
  ['web GET /path//prefix/a', 'by-operation/7'],
  ['web GET /path/%65xact', 'by-operation/7'],
  ['web GET /path/prefix/../exact', 'by-operation/7'],
  ['web GET /path/prefix/../other', undefined],
  ['web GET /path/prefix/%2e%2e/other', undefined],
  ['web GET /path/prefix%2fa', undefined],
  ['web GET /path/prefix\\a', 'by-operation/7'],
  ['web GET /any/tail', 'by-operation/7'],
  ['web GET /tail?a=/b', 'by-operation/7'],
  ['web GET /any/tails', undefined],
  ['web GET /tree/oak/leaf', 'by-operation/8'],
  ['web GET /tree/oak/twig/leaf', undefined],
  ['web GET /tree//leaf', undefined],
  ['web GET /forest/a/b/c', 'by-operation/8'],
  ['web GET /hole/open', 'by-operation/9'],
  ['web GET /hole/secret', undefined],
  ['web GET /hole/./secret', undefined],
  ['web GET /hole/any/key', undefined],
  ['web GET /hole/any/other', 'by-operation/9'],
  ['web OPTIONS /whatever', 'by-operation/10'],
  ['web GET /port/own', 'by-operation/11'],
  ['web GET /port/other', undefined],
  ['web GET /port/not', undefined],
  ['web GET /header/exact', 'by-operation/14', { 'x-tier': 'silver' }],
  ['web GET /header/exact', 'by-operation/14', { 'X-TIER': 'gold' }],
  ['web GET /header/exact', undefined, { 'x-tier': 'Gold' }],
  ['web GET /header/exact', undefined],
  ['web GET /header/prefix', 'by-operation/15', { 'x-tier': 'gone' }],
  ['web GET /header/prefix', undefined, { 'x-tier': 'ago' }],
  ['web GET /header/suffix', 'by-operation/16', { 'x-tier': 'old' }],
  ['web GET /header/suffix', undefined, { 'x-tier': 'older' }],
  ['web GET /header/any', 'by-operation/17', { 'x-tier': 'x' }],
  ['web GET /header/any', undefined, { 'x-tier': '' }],
  ['web GET /header/any', undefined],
  ['web GET /header/not', undefined, { 'x-tier': 'gold' }],
  ['web GET /header/not', 'by-operation/18', { 'x-tier': 'tin' }],
  ['web GET /header/not', 'by-operation/18'],
  ['web GET /header/none', 'by-operation/19'],
  ['web GET /header/none', undefined, { 'x-tier': 'tin' }],
  ['web GET /destination/ip', 'by-operation/20'],
  ['web GET /destination/port', undefined],
  ['web GET /two', 'by-operation/22', { 'x-a': '1', 'x-b': '2' }],
  ['web GET /two', undefined, { 'x-a': '1' }],
];

const denyRows: readonly Row[] = [
  ['web GET /denied/nothing', 'open/0'],
  ['web GET /denied/always', 'never-twice/0'],
  ['web GET /denied/batch', 'open/0'],
  ['jobs GET /denied/batch', 'never/1'],
  ['web GET /denied/all-but-web', 'open/0'],
  ['other GET /denied/all-but-web', 'never/2'],
  ['web GET /denied/writes', 'open/0'],
  ['web POST /denied/writes', 'never/3'],
  ['web GET /denied/header', 'open/0'],
  ['web GET /denied/header', 'never/4', { 'x-debug': '1' }],
  ['web GET /denied/a/key', 'never/5'],
  ['web GET /denied/[a]/key', 'never/5'],
  ['web GET /denied/everywhere', 'everywhere/0'],
  ['web GET /elsewhere', undefined],
];

describe('HTTP policies over mTLS: Envoy and the evaluator give the verdict that the document means', () => {
  let mesh: TestMesh;
  let judge: Judge;

  beforeAll(async () => {
    const way = [{ to: cart, protocol: 'http' }] as const;
    let policies: readonly string[] = [];
    mesh = await TestMesh.start({
      pods: [
        { pod: cart, serves: ['http'] },
        ...callers.map((caller) => ({ pod: pods[caller], calls: way })),
      ],
      policies: (ip) => {
        const block = `${ip(pods.web)}/32`;
        policies = [bySource(ip(pods.web), block), byOperation(ip(cart)), denials, audits, shadows];
        return Object.fromEntries(policies.map((text, index) => [`p${index}`, text]));
      },
    });
    judge = new Judge(mesh, cart, policies);
  });
  afterAll(async () => mesh.stop());

  const cases = [...bySourceRows, ...byOperationRows, ...denyRows].map(([request, rule, headers]) => ({
    request,
    rule,
    ...(headers === undefined ? {} : { headers }),
  }));

  it.each(cases)('$request $headers -> $rule', async ({ request, rule, headers }) => {
    const { status, envoy, evaluator } = await judge.ask(toAsked(request, headers));
    expect(envoy.rule).toBe(inEnvoy(rule));
    expect(status).toBe(envoy.verdict === 'ALLOW' ? 200 : request.includes('%2f') ? 400 : 403);
    expect(evaluator).toEqual(status === 400 ? { ...envoy, shadow: evaluator.shadow } : envoy);
  });

  it('AUDIT leaves a trace and changes nothing', async () => {
    const write = await judge.ask({ from: pods.web, method: 'PUT', path: '/method/exact' });
    expect(write.status).toBe(200);
    expect(write.envoy.audited).toBe('ns[countersign-system]-policy[audit-writes]-rule[0]');
    const read = await judge.ask({ from: pods.web, path: '/method/exact' });
    expect(read.envoy.audited).toBeUndefined();
    const denied = await judge.ask({ from: pods.web, path: '/denied/always' });
    expect(denied.status).toBe(403);
    expect(denied.envoy.audited).toBe('ns[shop]-policy[audit-denied]-rule[0]');
    for (const { envoy, evaluator } of [write, read, denied]) expect(evaluator).toEqual(envoy);
  });

  it('Shadow says what it would do, and does nothing', async () => {
    const denied = await judge.ask({ from: pods.web, path: '/tried/this' });
    expect(denied.status).toBe(200);
    expect(denied.envoy.shadow).toEqual({
      verdict: 'DENY',
      rule: 'ns[shop]-policy[try-to-deny]-rule[0]',
    });
    const allowed = await judge.ask({ from: pods.web, path: '/not-yet' });
    expect(allowed.status).toBe(403);
    expect(allowed.envoy.shadow).toEqual({
      verdict: 'ALLOW',
      rule: 'ns[shop]-policy[try-to-allow]-rule[0]',
    });
    for (const { envoy, evaluator } of [denied, allowed]) expect(evaluator).toEqual(envoy);
  });

  it('a forged x-forwarded-for moves nobody to another address', async () => {
    const headers = { 'x-forwarded-for': mesh.ip(pods.web) };
    for (const path of ['/ip/one', '/ip/remote', '/when/ip']) {
      expect((await judge.ask({ from: pods.jobs, path, headers })).status).toBe(403);
    }
  });

  it('every caller and method at every path: Envoy and the evaluator agree', async () => {
    const paths = [...new Set(cases.map(({ request }) => toAsked(request).path))];
    const questions = paths.flatMap((path) =>
      callers.flatMap((caller) =>
        ['GET', 'POST', 'DELETE'].map((method): Asked => ({ from: pods[caller], method, path })),
      ),
    );
    for (let start = 0; start < questions.length; start += 50) {
      const answers = await Promise.all(
        questions
          .slice(start, start + 50)
          .map(async (question) => ({ question, ...(await judge.ask(question)) })),
      );
      for (const { question, status, envoy, evaluator } of answers) {
        if (status !== 400) expect({ ...question, ...evaluator }).toEqual({ ...question, ...envoy });
        else expect(evaluator.verdict).toBe('DENY');
      }
    }
  });
});

function toAsked(request: string, headers?: Readonly<Record<string, string>>): Asked {
  const [caller = '', method = '', ...path] = request.split(' ');
  return {
    from: pods[caller as Caller],
    method,
    path: path.join(' '),
    ...(headers === undefined ? {} : { headers }),
  };
}

function inEnvoy(rule: string | undefined): string | undefined {
  if (rule === undefined) return undefined;
  const [policy, index] = rule.split('/');
  const namespace = policy === 'everywhere' ? 'countersign-system' : 'shop';
  return `ns[${namespace}]-policy[${policy}]-rule[${index}]`;
}
