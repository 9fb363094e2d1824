import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exchange } from '../harness/tcp.ts';
import { waitFor } from '../harness/wait.ts';
import { Judge } from './judge.ts';
import { TestMesh, trustDomain, type Way } from './mesh.ts';
import { documents, policyYaml } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';
const other = 'shop/other';
const neighbour = 'shop/neighbour';
const jobs = 'batch/jobs';
const port = 'shop/port';

const selector = { matchLabels: { app: 'cart' } };
const account = (pod: string): object => ({ source: { serviceAccounts: [pod] } });

function policies(ip: (pod: string) => string): string {
  return documents(
    policyYaml('shop/allow', {
      selector,
      rules: [
        {
          from: [{ source: { principals: [`${trustDomain}/ns/shop/sa/web`] } }],
          to: [{ operation: { ports: ['9000'] } }],
        },
        // Names an HTTP attribute: cannot match on TCP.
        { from: [account(other)], to: [{ operation: { methods: ['GET'] } }] },
        { from: [{ source: { ipBlocks: [ip(neighbour)] } }] },
        { from: [account(jobs)] },
        { from: [account(port)], to: [{ operation: { ports: ['8080'] } }] },
      ],
    }),
    policyYaml('shop/deny', {
      selector,
      action: 'DENY',
      // On TCP it loses its path, and so covers every connection of the namespace.
      rules: [{ from: [{ source: { namespaces: ['batch'] } }], to: [{ operation: { paths: ['/admin'] } }] }],
    }),
    policyYaml('shop/trace', {
      selector,
      action: 'AUDIT',
      rules: [{ from: [account(web)], when: [{ key: 'request.headers[x-trace]', values: ['1'] }] }],
    }),
    policyYaml('shop/try', {
      selector,
      mode: 'Shadow',
      action: 'DENY',
      rules: [{ from: [account(neighbour)], to: [{ operation: { ports: ['9000'] } }] }],
    }),
  );
}

describe.each(['sotw', 'delta'] as const)('TCP policies over mTLS, %s xDS', (xds) => {
  let mesh: TestMesh;
  let judge: Judge;

  beforeAll(async () => {
    const calls: readonly Way[] = [
      { to: cart, protocol: 'http' },
      { to: cart, protocol: 'tcp' },
    ];
    let text = '';
    mesh = await TestMesh.start({
      xds,
      pods: [
        { pod: cart, serves: ['http', 'tcp'] },
        ...[web, other, neighbour, jobs, port].map((pod) => ({ pod, calls })),
      ],
      policies: (ip) => {
        text = policies(ip);
        return { cart: text };
      },
    });
    judge = new Judge(mesh, cart, [text]);
  });
  afterAll(async () => mesh.stop());

  it.each([
    ['an ALLOW rule by principal and port', web, 'ns[shop]-policy[allow]-rule[0]'],
    ['an ALLOW rule by address', neighbour, 'ns[shop]-policy[allow]-rule[2]'],
  ])('a connection is allowed by %s', async (_, caller, rule) => {
    const { back, deniedBy, evaluator } = await judge.askTcp(caller, 1);
    expect(back).toBe('hello');
    expect(deniedBy).toBeUndefined();
    expect(evaluator).toMatchObject({ verdict: 'ALLOW', rule });
  });

  it.each([
    ['nothing: its ALLOW rule names an HTTP attribute', other, 'none'],
    ['nothing: its ALLOW rule is for another port', port, 'none'],
    ['a DENY rule, which covers more without its path', jobs, 'ns[shop]-policy[deny]-rule[0]'],
  ])('a connection is denied by %s', async (_, caller, rule) => {
    const { back, deniedBy, evaluator } = await judge.askTcp(caller, 1);
    expect(back).toBe('');
    expect(deniedBy).toBe(rule);
    expect(evaluator).toMatchObject({ verdict: 'DENY', rule: rule === 'none' ? undefined : rule });
  });

  it.each([
    [web, '/', 403],
    [other, '/', 200],
    [jobs, '/', 200],
    [jobs, '/admin', 403],
    [port, '/', 200],
  ])('the same policies on the HTTP port: %s GET %s -> %i', async (from, path, status) => {
    const answer = await judge.ask({ from, path });
    expect(answer.status).toBe(status);
    expect(answer.evaluator).toEqual(answer.envoy);
  });

  it('Shadow looks at connections, too; neither it nor AUDIT changes anything', async () => {
    const tried = await judge.askTcp(neighbour, 1);
    expect(tried.back).toBe('hello');
    expect(tried.shadowDeniedBy).toBe('ns[shop]-policy[try]-rule[0]');
    expect(tried.evaluator.shadow).toEqual({ verdict: 'DENY', rule: tried.shadowDeniedBy });
    const audited = await judge.askTcp(web, 1);
    expect(audited.back).toBe('hello');
    expect(audited.evaluator.audited).toBe('ns[shop]-policy[trace]-rule[0]');
    expect(audited.auditedBy).toBe(audited.evaluator.audited);
    expect(tried.auditedBy).toBeUndefined();
  });

  it('no app is reached before a rule allowed the caller: one that speaks first would greet anybody', async () => {
    const host = mesh.ip(other);
    const reached = (): Promise<number> =>
      mesh.envoy(cart).stat(`cluster.${mesh.inboundName(cart, 'tcp')}.upstream_cx_total`);
    const before = await reached();
    const silent = connect({ host, port: mesh.wayOut(other, 1).port });
    const open = `listener.${mesh.ip(cart)}_9000.downstream_cx_active`;
    await waitFor('the silent connection', async () =>
      (await mesh.envoy(cart).stat(open)) > 0 ? true : undefined,
    );
    // A caller that is allowed comes after it, and is served.
    expect((await judge.askTcp(web, 1)).back).toBe('hello');
    expect(await reached()).toBe(before + 1);
    silent.destroy();
  });

  it('plaintext reaches nothing', async () => {
    expect(await exchange({ host: mesh.ip(cart), port: 9_000, text: 'hello' })).not.toContain('hello');
  });
});
