import net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  authorizerCluster,
  compile,
  Evaluator,
  parseAuthorizationPolicy,
  parseMeshConfig,
  renderIssues,
  type AuthorizationPolicy,
  type MeshSettings,
  type Protocol,
} from '../../src/policy/index.ts';
import { echoApp } from '../harness/app.ts';
import {
  grpcAuthorizer,
  httpAuthorizer,
  refusedHeader as bad,
  type Authorizer,
} from '../harness/authorizer.ts';
import { call } from '../harness/http.ts';
import { freePort, loopbackSubnet } from '../harness/ports.ts';
import { clusterAt, inFile, StaticEnvoy } from './static-envoy.ts';

function parse(specs: readonly object[]): AuthorizationPolicy[] {
  return specs.map((spec, index) => {
    const parsed = parseAuthorizationPolicy({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: `p${index}`, namespace: 'shop' },
      spec,
    });
    if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
    return parsed.policy;
  });
}
function settings(): MeshSettings {
  const service = { service: 'unused', port: 1, timeout: '2s' };
  const parsed = parseMeshConfig({
    extensionProviders: [
      { name: 'grpc', envoyExtAuthzGrpc: service },
      {
        name: 'http',
        envoyExtAuthzHttp: {
          ...service,
          pathPrefix: '/check',
          includeRequestHeadersInCheck: ['x-verdict-*'],
        },
      },
      { name: 'away', envoyExtAuthzGrpc: { ...service, statusOnError: 503 } },
      { name: 'open', envoyExtAuthzHttp: { ...service, failOpen: true } },
    ],
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny', ...parsed.settings };
}
const rules = [
  { to: [{ operation: { paths: ['/ask/*'], notMethods: ['HEAD'] } }] },
  { when: [{ key: 'request.headers[x-ask]', values: ['*'] }] },
];
const policiesFor = (provider: string): AuthorizationPolicy[] =>
  parse([
    { action: 'CUSTOM', provider: { name: provider }, rules },
    { rules: [{ to: [{ operation: { notPaths: ['/ask/closed'] } }] }] },
    { action: 'DENY', rules: [{ to: [{ operation: { paths: ['*/denied'] } }] }] },
  ]);

/** Where the settings say that all of them are; the clusters know better. */
const unused = { host: 'unused', port: 1 };
const authorizers = new Map<string, Authorizer>();
const asked = (provider: string): number => authorizers.get(provider)?.asked ?? 0;
let closing: { close: () => void };
const envoys = new Map<string, { envoy: StaticEnvoy; host: string; port: number; tcpPort: number }>();

beforeAll(async () => {
  const echo = await echoApp();
  closing = echo;
  const nowhere = await freePort();
  authorizers.set('grpc', await grpcAuthorizer()).set('http', await httpAuthorizer());
  for (const provider of ['grpc', 'http', 'away', 'open', 'htt']) {
    const [host, policies] = [`${loopbackSubnet()}.1`, policiesFor(provider)];
    const compiled = (some: typeof policies, protocol: Protocol): ReturnType<typeof compile> =>
      compile(some, { protocol, settings: settings() });
    // On TCP the DENY rule would lose its path, and deny everything.
    const [forHttp, forTcp] = [compiled(policies, 'http'), compiled(policies.slice(0, 1), 'tcp')];
    const pairOf = ({ custom }: ReturnType<typeof compile>): ReturnType<typeof inFile>[] =>
      custom ? [inFile(custom.select), inFile(custom.ask)] : [];
    const [port, tcpPort] = [await freePort(host), await freePort(host)];
    const http2 = provider === 'grpc' || provider === 'away';
    const envoy = new StaticEnvoy({
      ...{ host, port, adminPort: await freePort() },
      before: pairOf(forHttp),
      sets: new Map([['all', forHttp]]),
      clusters: [
        clusterAt(
          authorizerCluster({ ...unused, name: provider }),
          authorizers.get(provider)?.port ?? nowhere,
          http2,
        ),
        clusterAt('tcp', echo.port, false),
      ],
      tcp: {
        port: tcpPort,
        filters: [...pairOf(forTcp), inFile(forTcp.audit), inFile(forTcp.deny)],
      },
    });
    envoys.set(provider, { envoy, host, port, tcpPort });
    await envoy.ready();
  }
}, 120_000);
afterAll(async () => {
  await Promise.all([...envoys.values()].map(({ envoy }) => envoy.stop()));
  for (const authorizer of authorizers.values()) authorizer.close();
  closing.close();
});

const requests = ['/ask/x', '/ask', '/other', '/ask/denied', '/denied', '/ask/closed'].flatMap((path) =>
  ['GET', 'HEAD'].flatMap((method) =>
    [{}, { 'x-ask': '1' }, { 'x-ask': '' }].flatMap((headers) =>
      [{}, { [bad]: '1' }].map((verdict) => ({ path, method, headers: { ...headers, ...verdict } })),
    ),
  ),
);

describe('a CUSTOM policy in the real Envoy', () => {
  it.each([
    ['grpc', 'as the request says'],
    ['http', 'as the request says'],
    ['away', 'DENY'],
    ['open', 'ALLOW'],
    ['htt', 'DENY'],
  ])('decides as the evaluator says: provider %s', async (provider, says) => {
    const { host, port } = envoys.get(provider)!;
    const evaluator = new Evaluator(policiesFor(provider), { settings: settings() });
    const differences: object[] = [];
    for (const { path, method, headers } of requests) {
      const before = asked(provider);
      const { status } = await call({ host, port, path, method, headers: { 'x-set': 'all', ...headers } });
      const refuses = says === 'DENY' || (says !== 'ALLOW' && bad in headers);
      const said = evaluator.decide({
        protocol: 'http',
        principal: undefined,
        sourceIp: '127.0.0.1',
        remoteIp: undefined,
        destinationIp: host,
        destinationPort: port,
        sni: undefined,
        method,
        path,
        host,
        headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
        authorizerSays: refuses ? 'DENY' : 'ALLOW',
      });
      const wasAsked = asked(provider) > before;
      const answers = provider === 'grpc' || provider === 'http';
      if (
        (status === 200 ? 'ALLOW' : 'DENY') !== said.verdict ||
        (answers && wasAsked !== (said.asks !== undefined))
      )
        differences.push({ path, method, headers, status, wasAsked, said: said.reason, asks: said.asks });
    }
    expect(differences).toEqual([]);
  });

  it('answers with the status of the provider where it cannot be asked', async () => {
    const { host, port } = envoys.get('away')!;
    const { status } = await call({ host, port, path: '/ask/x', headers: { 'x-set': 'all' } });
    expect(status).toBe(503);
  });

  it.each([
    ['grpc', true],
    ['away', false],
    ['http', false],
    ['htt', false],
  ])('on TCP: provider %s lets pass: %s', async (provider, passes) => {
    const { host, tcpPort } = envoys.get(provider)!;
    const before = asked('grpc');
    const answer = await new Promise<string>((resolve) => {
      const socket = net.connect(tcpPort, host, () => socket.write('hello'));
      socket.once('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.once('close', () => resolve(''));
      socket.on('error', () => resolve(''));
    });
    expect(answer !== '').toBe(passes);
    expect(asked('grpc') > before).toBe(provider === 'grpc');
  });
});
