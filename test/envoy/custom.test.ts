import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { grpcAuthorizer, httpAuthorizer, refusedHeader, type Authorizer } from '../harness/authorizer.ts';
import { Http2Connection } from '../harness/http2.ts';
import { freePort } from '../harness/ports.ts';
import { exchange } from '../harness/tcp.ts';
import { waitFor } from '../harness/wait.ts';
import { beforeCustom, withoutAuthorizers } from './bootstrap-edits.ts';
import { TestMesh, type Protocol } from './mesh.ts';
import { documents, policyYaml } from './policies.ts';

const web = 'shop/web';
/** Named after the provider that their CUSTOM policy asks. */
const workloads = ['grpc', 'http', 'away', 'open', 'later', 'unknown'] as const;
/** They ask the gRPC authorizer, and their bootstraps are older than that: no filters for CUSTOM, no cluster. */
const old = 'shop/old';
const bare = 'shop/bare';
const callees = [...workloads.map((name) => `shop/${name}`), old, bare];
const refused = { [refusedHeader]: '1' };

describe('CUSTOM policies ask external authorizers', () => {
  let mesh: TestMesh;
  let grpc: Authorizer;
  let http: Authorizer;
  let away: number;

  /** @param declared names of providers that are left out otherwise */
  function config(...declared: readonly string[]): string {
    const at = (port: number, more: object = {}): object => ({
      service: '127.0.0.1',
      port,
      timeout: '2s',
      ...more,
    });
    const providers = [
      { name: 'grpc', envoyExtAuthzGrpc: at(grpc.port) },
      {
        name: 'http',
        envoyExtAuthzHttp: at(http.port, {
          pathPrefix: '/check',
          includeRequestHeadersInCheck: [refusedHeader],
        }),
      },
      { name: 'away', envoyExtAuthzGrpc: at(away, { statusOnError: 503 }) },
      { name: 'open', envoyExtAuthzGrpc: at(away, { failOpen: true }) },
    ];
    const later = declared.map((name) => ({ name, envoyExtAuthzGrpc: at(grpc.port) }));
    return stringify({ extensionProviders: [...providers, ...later] });
  }

  beforeAll(async () => {
    grpc = await grpcAuthorizer();
    http = await httpAuthorizer();
    away = await freePort();
    const serves: readonly Protocol[] = ['http', 'tcp'];
    const asks = (app: string, provider: string): string =>
      policyYaml(`shop/ask-${app}`, {
        selector: { matchLabels: { app } },
        action: 'CUSTOM',
        provider: { name: provider },
        rules: [{ to: [{ operation: { paths: ['/ask', '/ask/*'] } }] }],
      });
    mesh = await TestMesh.start({
      meshConfig: config('later'),
      pods: [
        ...workloads.map((name) => ({ pod: `shop/${name}`, serves })),
        { pod: old, serves, edit: beforeCustom },
        { pod: bare, serves, edit: withoutAuthorizers },
        {
          pod: web,
          calls: callees.flatMap((to) => serves.map((protocol) => ({ to, protocol }))),
        },
      ],
      policies: {
        ask: documents(
          ...workloads.map((name) => asks(name, name)),
          asks('old', 'grpc'),
          asks('bare', 'grpc'),
          policyYaml('shop/allow', {
            rules: [
              { to: [{ operation: { notPaths: ['/ask/closed'] } }] },
              { to: [{ operation: { ports: ['9000'] } }] },
            ],
          }),
        ),
      },
    });
  });
  afterAll(async () => {
    await mesh.stop();
    grpc.close();
    http.close();
  });

  const way = (pod: string): number => callees.indexOf(pod) * 2;
  const ask = async (pod: string, path: string, headers = {}): Promise<number> =>
    (await mesh.call(web, { way: way(pod), path, headers })).status;
  const askTcp = async (pod: string): Promise<string> =>
    await exchange({ ...mesh.wayOut(web, way(pod) + 1), text: 'hello' });

  it.each(['grpc', 'http'])(
    '%s: what it refuses is refused, what it allows still needs an ALLOW rule',
    async (name) => {
      const authorizer = { grpc, http }[name];
      const before = authorizer?.asked ?? 0;
      const pod = `shop/${name}`;
      expect(await ask(pod, '/other', refused)).toBe(200);
      expect(authorizer?.asked).toBe(before);
      expect(await ask(pod, '/ask/x')).toBe(200);
      expect(await ask(pod, '/ask/closed')).toBe(403);
      expect(authorizer?.asked).toBe(before + 2);
      expect(await ask(pod, '/ask/x', refused)).toBe(name === 'http' ? 401 : 403);
      expect(authorizer?.asked).toBe(before + 3);
    },
  );

  it('one that is away refuses, with its status; one that is declared failOpen lets pass', async () => {
    expect(await ask('shop/away', '/ask/x')).toBe(503);
    expect(await ask('shop/away', '/other')).toBe(200);
    expect(await ask('shop/open', '/ask/x')).toBe(200);
    expect(await ask('shop/open', '/ask/closed')).toBe(403);
  });

  it('nobody knows the provider: just what the policy selects is denied, and the log says so', async () => {
    expect(await ask('shop/unknown', '/ask/x')).toBe(403);
    expect(await ask('shop/unknown', '/other')).toBe(200);
    await waitFor('the warning', () =>
      mesh.controlPlane.log.includes('provider unknown is not declared') ? true : undefined,
    );
  });

  it('a sidecar older than the filters refuses what they would ask about, and names the rule', async () => {
    const before = grpc.asked;
    expect(await ask(old, '/ask/old')).toBe(403);
    expect(await ask(old, '/other')).toBe(200);
    expect(await askTcp(old)).toBe('');
    expect(grpc.asked).toBe(before);
    const line = await mesh.envoy(old).logged(({ path }) => path === '/ask/old');
    expect(line.denied_by).toBe('ns[shop]-policy[ask-old]-rule[0]');
  });

  it('a sidecar without the cluster of the authorizer cannot ask, and refuses', async () => {
    expect(await ask(bare, '/ask/bare')).toBe(403);
    expect(await ask(bare, '/other')).toBe(200);
    expect(await askTcp(bare)).toBe('');
    const line = await mesh.envoy(bare).logged(({ path }) => path === '/ask/bare');
    expect(line).toMatchObject({ details: 'ext_authz_error', denied_by: null });
  });

  it('on TCP: by gRPC alone', async () => {
    const before = grpc.asked;
    expect(await askTcp('shop/grpc')).toBe('hello');
    expect(grpc.asked).toBe(before + 1);
    expect(await askTcp('shop/http')).toBe('');
    expect(await askTcp('shop/away')).toBe('');
    expect(await askTcp('shop/open')).toBe('hello');
    expect(await askTcp('shop/unknown')).toBe('');
  });

  it('a provider that is declared while all runs is asked on open connections; a bad file changes nothing', async () => {
    const connection = new Http2Connection(mesh.wayOut(web, way('shop/later')));
    expect(await connection.status('/ask/x')).toBe(200);
    mesh.writeConfig(config());
    await waitFor('the denial', async () => ((await connection.status('/ask/x')) === 403 ? true : undefined));
    expect(await connection.status('/other')).toBe(200);
    const before = grpc.asked;
    mesh.writeConfig(config('later').replace('port:', 'prot:'));
    const rejection = await waitFor('the rejection', () =>
      mesh.controlPlane.audit().find(({ event }) => event === 'policy.rejected'),
    );
    expect(rejection['actor']).toBe('mesh-config');
    expect(rejection['where']).toMatch(/mesh\.yaml extensionProviders\[0\]\.envoyExtAuthzGrpc/u);
    expect(await mesh.controlPlane.metrics()).toMatch(/source_problems [1-9]/u);
    mesh.writeConfig(config('later'));
    await waitFor('the answer', async () => ((await connection.status('/ask/x')) === 200 ? true : undefined));
    expect(grpc.asked).toBeGreaterThan(before);
    expect(connection.closed).toBe(false);
    expect(await mesh.controlPlane.metrics()).toMatch(/source_problems 0/u);
    connection.close();
    const changes = mesh.controlPlane.audit().filter(({ event }) => event === 'settings.changed');
    expect(changes.map(({ settings }) => settings)).toEqual([['authorizers'], ['authorizers']]);
  });

  it('a provider that moves is asked no more where it was: a sidecar of before refuses', async () => {
    expect(await ask('shop/later', '/ask/x')).toBe(200);
    const text = config('later');
    const place = `port: ${grpc.port}`;
    const at = text.lastIndexOf(place);
    mesh.writeConfig(`${text.slice(0, at)}port: ${http.port}${text.slice(at + place.length)}`);
    await waitFor('the refusal', async () =>
      (await ask('shop/later', '/ask/moved')) === 403 ? true : undefined,
    );
    const before = grpc.asked;
    expect(await ask('shop/later', '/ask/gone')).toBe(403);
    expect(grpc.asked).toBe(before);
    const line = await mesh.envoy('shop/later').logged(({ path }) => path === '/ask/gone');
    expect(line).toMatchObject({ details: 'ext_authz_error', denied_by: null });
  });
});
