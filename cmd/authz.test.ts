import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Authority, memoryKeyStore } from '../src/authority/index.ts';
import { SpiffeId, TrustDomain } from '../src/identity/index.ts';
import { someJwks } from '../src/policy/authn/testing.ts';
import { authzCheckCommand } from './authz-check.ts';
import { runInProcess, type Ran } from '../test/harness/command.ts';
import { authzCompileCommand } from './authz-compile.ts';

const manifests = `apiVersion: v1
kind: Pod
metadata: {name: cart-0, namespace: shop, labels: {app: cart}}
---
apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules:
    - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
      to: [{operation: {methods: [GET], paths: [/api/*]}}]
`;
const tokens = `---
apiVersion: security.countersign.dev/v1
kind: RequestAuthentication
metadata: {name: people, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  jwtRules: [{issuer: "https://i.example", audiences: [cart], jwksUri: "https://i.example/keys"}]
`;
const web = 'spiffe://cluster.local/ns/shop/sa/web';

let directory = '';
let file = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'authz-'));
  file = join(directory, 'shop.yaml');
  await writeFile(file, manifests);
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await rm(directory, { recursive: true });
});

const check = (...argv: string[]): Promise<Ran> => runInProcess(authzCheckCommand(), '-f', file, ...argv);

/** Of web, issued a minute before ten. @returns the PEM file */
async function certificateOf(holder: { podUid: string; node: string }): Promise<string> {
  const authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain: TrustDomain.parse('cluster.local'),
    nowMs: () => Date.UTC(2026, 10, 22, 9, 59),
    svidTtlMs: 3_600_000,
  });
  const pem = join(directory, 'web.pem');
  await writeFile(pem, authority.issue(SpiffeId.parse(web), { holder }).chainPem);
  authority.close();
  return pem;
}

describe('authz check', () => {
  it('says ALLOW with the rule, exit 0', async () => {
    const { out, err, exitCode } = await check('--to', 'shop/cart-0', '--from', web, '--path', '/api/x');
    expect(out).toMatch(
      /^ALLOW\n {2}reason {3}allowed by rule 0 .*\n {2}rule {5}ns\[shop\]-policy\[cart\]-rule\[0\]\n$/,
    );
    expect(err).toBe('');
    expect(exitCode).toBe(0);
  });

  it('says which entry of the quarantine denies, and what it would need to know', async () => {
    const list = join(directory, 'quarantine.json');
    const asked = ['--to', 'shop/cart-0', '--from', web, '--path', '/api/x', '--quarantine', list];
    const entry = { name: 'q-0000000001', reason: 'stolen' };
    const entries = (...them: readonly object[]): Promise<void> =>
      writeFile(list, JSON.stringify({ entries: them.map((each) => ({ ...entry, ...each })) }));
    await entries({ kind: 'id', id: web });
    const { out, exitCode } = await check(...asked);
    expect(out).toBe(
      `DENY\n  reason   denied by quarantine q-0000000001 (callers with the SPIFFE ID ${web}): stolen\n  rule     countersign-quarantine[q-0000000001]\n`,
    );
    expect(exitCode).toBe(1);
    await entries({ kind: 'id', id: `${web}x` });
    expect((await check(...asked)).exitCode).toBe(0);

    await entries({ kind: 'issued-before', issued_before: '2026-11-22T10:00:00.000Z' });
    const open = await check(...asked);
    expect(open).toMatchObject({ out: '', exitCode: 2 });
    expect(open.err).toMatch(/could not tell: q-0000000001 .* --from-certificate/u);
    const pem = await certificateOf({ podUid: 'uid-1', node: 'node-1' });
    const shown = [...asked, '--from-certificate', pem];
    expect((await check(...shown)).exitCode).toBe(1);
    await entries({ kind: 'pod', pod_uid: 'uid-1' });
    expect((await check(...shown)).exitCode).toBe(1);
    await entries({ kind: 'pod', pod: 'shop/web-2', pod_uid: 'uid-2' });
    expect((await check(...shown)).exitCode).toBe(0);
    await entries({ kind: 'node', node: 'node-1' });
    expect((await check(...shown)).exitCode).toBe(1);

    for (const text of [
      '{}',
      '{"entries": [{}]}',
      '{"entries": [{"name": "q", "reason": "r", "kind": "x"}]}',
    ]) {
      await writeFile(list, text);
      expect((await check(...asked)).err).toMatch(/is not what countersign quarantine list -o json prints/u);
    }
  });

  it('denies everybody where the called workload is in quarantine, and says so where it may be', async () => {
    const list = join(directory, 'quarantine.json');
    const asked = ['--from', web, '--path', '/api/x', '--quarantine', list];
    const told = async (to: string, entry: object): Promise<Ran> => {
      await writeFile(
        list,
        JSON.stringify({ entries: [{ name: 'q-0000000001', reason: 'stolen', ...entry }] }),
      );
      return await check('--to', to, ...asked);
    };
    const accountOf = (name: string): object => ({
      kind: 'id',
      id: `spiffe://cluster.local/ns/shop/sa/${name}`,
    });
    const named = (uid: string, pod = 'shop/cart-0'): object => ({ kind: 'pod', pod, pod_uid: uid });
    const on = (node: string): object => ({ kind: 'node', node });
    // As kubectl get prints it.
    await writeFile(
      file,
      manifests.replace(
        'labels: {app: cart}}\n---',
        'uid: uid-0, labels: {app: cart}}\nspec: {serviceAccountName: cart, nodeName: node-0}\n---',
      ),
    );
    const pem = await certificateOf({ podUid: 'uid-1', node: 'node-1' });
    asked.push('--from-certificate', pem);
    for (const entry of [accountOf('cart'), named('uid-0'), on('node-0')]) {
      const { out, exitCode } = await told('shop/cart-0', entry);
      expect(out).toMatch(/^DENY\n.*q-0000000001 \(the workload itself is in quarantine\): stolen/u);
      expect(exitCode).toBe(1);
    }
    for (const entry of [accountOf('default'), named('uid-2'), on('node-2')])
      expect((await told('shop/cart-0', entry)).exitCode).toBe(0);

    // As its author wrote it: another day, it is another pod on another node.
    await writeFile(file, manifests);
    for (const entry of [accountOf('cart'), named('uid-0', 'shop/cart-1')])
      expect((await told('shop/cart-0', entry)).exitCode).toBe(0);
    expect((await told('shop/cart-0', accountOf('default'))).exitCode).toBe(1);
    for (const entry of [named('uid-0'), on('node-0')]) {
      const { err, exitCode } = await told('shop/cart-0', entry);
      expect(err).toMatch(/could not tell: q-0000000001 .* may be about shop\/cart-0 itself/u);
      expect(exitCode).toBe(2);
    }
    // Nothing is known of its account either.
    asked.push('--labels', 'app=cart');
    expect((await told('shop/cart-9', accountOf('cart'))).exitCode).toBe(2);
    expect(
      (await told('shop/cart-9', { ...accountOf('cart'), id: web.replace('shop', 'till') })).exitCode,
    ).toBe(0);
    // A denial stands, whoever it is about.
    expect((await told('shop/cart-9', accountOf('web'))).exitCode).toBe(1);
  });

  it('never takes the trust domain of the mesh from the caller', async () => {
    await writeFile(file, manifests.replace('cluster.local', 'old.example'));
    const config = join(directory, 'mesh.json');
    await writeFile(config, '{"trustDomainAliases": ["old.example"]}');
    const from = (domain: string, ...argv: string[]): Promise<Ran> =>
      check(
        '--to',
        'shop/cart-0',
        '--path',
        '/api/x',
        '--from',
        web.replace('cluster.local', domain),
        ...argv,
      );
    const aliases = ['--mesh-config', config];
    expect((await from('evil.example', ...aliases)).exitCode).toBe(1);
    expect((await from('cluster.local', ...aliases)).exitCode).toBe(0);
    expect((await from('evil.example', ...aliases, '--trust-domain', 'new.example')).exitCode).toBe(1);
    expect((await from('new.example', ...aliases, '--trust-domain', 'new.example')).exitCode).toBe(0);
    await writeFile(config, '{"trustDomain": "new.example", "trustDomainAliases": ["old.example"]}');
    expect((await from('new.example', ...aliases)).exitCode).toBe(0);
    const torn = await from('new.example', ...aliases, '--trust-domain', 'evil.example');
    expect(torn.err).toMatch(
      /trustDomain is "new.example" in .*mesh.json and "evil.example" in --trust-domain/,
    );
    expect(torn.exitCode).toBe(2);
  });

  it('says DENY with what failed, exit 1', async () => {
    const { out, exitCode } = await check(
      '--to',
      'shop/cart-0',
      '--from',
      web,
      '--path',
      '/admin',
      '-o',
      'json',
    );
    expect(JSON.parse(out)).toMatchObject({
      verdict: 'DENY',
      nearest: { failed: ['path /admin does not start with /api/'] },
    });
    expect(exitCode).toBe(1);
  });

  it('takes labels from --labels where there is no such Pod, and says so', async () => {
    const { out, err } = await check(
      '--to',
      'shop/other',
      '--labels',
      'app=cart',
      '--from',
      web,
      '--path',
      '/api/',
    );
    expect(out).toMatch(/^ALLOW/);
    expect(err).toMatch(/no Pod shop\/other in the manifests/);
  });

  it('decides nothing where the answer depends on labels that nobody gave', async () => {
    const { out, err, exitCode } = await check('--to', 'shop/crat', '--from', web);
    expect([out, exitCode]).toEqual(['', 2]);
    expect(err).toMatch(
      /no Pod shop\/crat in the manifests, and shop\/.* selects by labels: add the Pod, or give its labels/,
    );
    // Another namespace's policies do not reach it, so its labels cannot matter.
    expect((await check('--to', 'elsewhere/any', '--from', web)).exitCode).toBe(1);
  });

  it('takes the payload of a token from --claims, and what filters wrote from --filter-metadata', async () => {
    const when = `
      when:
        - {key: "request.auth.claims[roles]", values: [buyer]}
        - {key: "experimental.envoy.filters.http.x[tier]", values: [gold]}
`;
    await writeFile(file, `${manifests.trimEnd()}${when}${tokens}`);
    const payload = join(directory, 'payload.json');
    const metadata = join(directory, 'metadata.yaml');
    await writeFile(
      payload,
      '{"iss": "https://i.example", "aud": "cart", "sub": "s", "roles": ["seller", "buyer"]}',
    );
    await writeFile(metadata, 'envoy.filters.http.x: {tier: gold}');
    const call = ['--to', 'shop/cart-0', '--from', web, '--path', '/api/x'];
    expect((await check(...call, '--claims', payload, '--filter-metadata', metadata)).out).toMatch(/^ALLOW/);
    const { out } = await check(...call);
    expect(out).toMatch(/failed {3}the request has no verified token, so it has no claim roles/);
    await writeFile(payload, '{"iss": "https://i.example", "roles": ["buyer"]}');
    const refused = await check(...call, '--claims', payload);
    expect(refused.out).toMatch(
      /^DENY\n {2}reason {3}the token is refused .* is for no audience, .* ask for cart\n$/,
    );
    await writeFile(file, `${manifests.trimEnd()}${when}`);
    expect((await check(...call, '--claims', payload)).out).toMatch(
      /rules see no token: no RequestAuthentication/,
    );
    await writeFile(payload, 'aaa.bbb.ccc');
    const { err, exitCode } = await check(...call, '--claims', payload);
    expect(err).toMatch(/holds no JSON or YAML mapping/);
    expect(err).not.toMatch(/aaa/);
    expect(exitCode).toBe(2);
  });

  it('lets nobody in who comes in plaintext, unless a PeerAuthentication does', async () => {
    const open = manifests.replace(/ +- from:.*\n +to:.*\n/, '    - {}\n');
    await writeFile(file, open);
    expect((await check('--to', 'shop/cart-0')).out).toMatch(
      /^DENY\n {2}reason {3}the caller comes without mTLS, .* \(STRICT, the default, .*\): let it call through its sidecar/,
    );
    const peers = `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, portLevelMtls: {8080: {mode: PERMISSIVE}, 8081: {mode: DISABLE}}}
`;
    await writeFile(file, `${open}${peers}`);
    expect((await check('--to', 'shop/cart-0', '--port', '8080')).out).toMatch(/^ALLOW/);
    expect((await check('--to', 'shop/cart-0', '--port', '80')).out).toMatch(/^DENY/);
    expect((await check('--to', 'shop/cart-0', '--port', '8081', '--from', web)).out).toMatch(
      /^DENY\n.* plaintext alone \(DISABLE, PeerAuthentication shop\/cart\)/,
    );
  });

  it('cannot tell what an external authorizer decides, unless its answer is stated', async () => {
    const ask = `---
apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{}]}
`;
    await writeFile(file, `${manifests}${ask}`);
    const call = ['--to', 'shop/cart-0', '--from', web, '--path', '/api/x'];
    const unknown = await check(...call);
    expect(unknown.out).toMatch(/^DENY\n.*provider opa is not declared in the mesh's configuration/);
    expect(unknown.exitCode).toBe(1);
    const config = join(directory, 'mesh.json');
    const provider = { name: 'opa', envoyExtAuthzGrpc: { service: 'opa.policy', port: 9191 } };
    await writeFile(config, JSON.stringify({ extensionProviders: [provider] }));
    const open = await check(...call, '--mesh-config', config);
    expect(open.out).toMatch(/^ALLOW, if opa allows it .*\n {2}reason .*\n {2}asks {5}opa, by ns\[shop\]/);
    expect(open.exitCode).toBe(2);
    const stated = [...call, '--mesh-config', config, '--authorizer-says'];
    expect((await check(...stated, 'allow')).exitCode).toBe(0);
    expect(await check(...stated, 'deny')).toMatchObject({ exitCode: 1 });
    await writeFile(config, '{"extensionProvider": []}');
    expect((await check(...call, '--mesh-config', config)).err).toMatch(/did you mean extensionProviders\?/);
  });

  it('cannot tell where a rule looks at what was not said, and names the flag', async () => {
    const deny = (rule: string): Promise<void> =>
      writeFile(
        file,
        `${manifests}---
apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: shut, namespace: shop}
spec: {action: DENY, rules: [${rule}]}
`,
      );
    const call = ['--to', 'shop/cart-0', '--from', web, '--path', '/api/x'];
    await deny('{to: [{operation: {ports: ["8080"], hosts: ["*"]}}]}');
    const unsaid = await check(...call, '--host', 'shop');
    expect(unsaid.out).toBe('could not tell: rule 0 of shop/shut looks at the port; give --port\n');
    expect(unsaid.exitCode).toBe(2);
    expect((await check(...call, '--host', 'shop', '--port', '8080')).exitCode).toBe(1);
    expect((await check(...call, '--host', 'shop', '--port', '80')).exitCode).toBe(0);
    expect((await check(...call, '--port', '8080')).out).toMatch(/at the host; give --host/);
    await deny('{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}');
    expect((await check(...call)).out).toMatch(/at the source IP; give --source-ip/);
    expect((await check(...call, '--source-ip', '11.0.0.1')).exitCode).toBe(0);
    expect((await check(...call, '--source-ip', '10.0.0.256')).err).toMatch(/is no IP address/);
  });

  it('judges a policy with a validity at the time of --at', async () => {
    const until = manifests.replace('  rules:', '  validity: {notAfter: "2999-01-01T00:00:00Z"}\n  rules:');
    await writeFile(file, until);
    const call = ['--to', 'shop/cart-0', '--from', web, '--path', '/api/x'];
    expect((await check(...call)).out).toMatch(/^ALLOW/);
    const { out } = await check(...call, '--at', '2999-01-01T00:00:00Z');
    expect(out).toMatch(/failed {3}the policy ended at 2999-01-01T00:00:00.000Z/);
  });

  it.each([
    [['--to', 'shop/cart-0', '--at', 'noon'], /is no time/],
    [['--to', 'cart-0'], /not a pod: write NAMESPACE\/NAME/],
    [['--to', 'shop/cart-0', '--from', 'web'], /--from/],
    [['--to', 'shop/cart-0', '--port', '0'], /not a port/],
    [['--to', 'shop/cart-0', '--header', 'x'], /not a header/],
    [['--to', 'shop/cart-0', '--claims', '/nowhere/c.json'], /--claims: cannot read/],
  ])('refuses %j with exit 2', async (argv, message) => {
    const { out, err, exitCode } = await check(...argv);
    expect(err).toMatch(message);
    expect(out).toBe('');
    expect(exitCode).toBe(2);
  });

  it('decides nothing on manifests with errors: file, line, field on stderr, exit 2', async () => {
    await writeFile(file, manifests.replace('methods:', 'method:'));
    const { out, err, exitCode } = await check('--to', 'shop/cart-0');
    expect(out).toBe('');
    expect(err).toContain(
      `error ${file}:12 spec.rules[0].to[0].operation.method: unknown field "method"; did you mean methods?`,
    );
    expect(exitCode).toBe(2);
  });

  it.each([
    ['AuthorizationPolcy', 'security.countersign.dev/v1', /did you mean AuthorizationPolicy\?/],
    ['Peerauthentication', 'security.istio.io/v1beta1', /did you mean PeerAuthentication\?/],
    ['Pod', 'security.istio.io', /allowed: AuthorizationPolicy, RequestAuthentication/],
    ['Gateway', 'security.istio.io/v1', /allowed: AuthorizationPolicy, RequestAuthentication/],
  ])('passes over no %s of %s', async (kind, apiVersion, hint) => {
    const metadata = 'metadata: {name: x, namespace: shop}';
    await writeFile(file, `${manifests}---\napiVersion: ${apiVersion}\nkind: ${kind}\n${metadata}\n`);
    const { out, err, exitCode } = await check('--to', 'shop/cart-0', '--from', web, '--path', '/api/x');
    expect([out, exitCode]).toEqual(['', 2]);
    expect(err).toMatch(
      new RegExp(`^error .*shop.yaml:\\d+ kind: unknown kind "${kind}" of ${apiVersion}; `),
    );
    expect(err).toMatch(hint);
  });

  it('refuses two policies of one name', async () => {
    await writeFile(join(directory, 'again.yaml'), manifests);
    const { err, exitCode } = await runInProcess(authzCheckCommand(), '-f', directory, '--to', 'shop/cart-0');
    expect(err).toMatch(/shop\/cart is already defined at .*again.yaml:5/);
    expect(exitCode).toBe(2);
  });
});

describe('authz compile', () => {
  const compile = (...argv: string[]): Promise<Ran> =>
    runInProcess(authzCompileCommand(), '-f', file, '--namespace', 'shop', '--labels', 'app=cart', ...argv);

  it('prints audit, deny, allow', async () => {
    const { out } = await compile();
    const { filters } = JSON.parse(out) as { filters: { name: string }[] };
    expect(filters.map(({ name }) => name)).toEqual([
      'countersign.authz.http.audit',
      'countersign.authz.http.deny',
      'countersign.authz.http.allow',
    ]);
    expect(out).toContain('ns[shop]-policy[cart]-rule[0]');
  });

  it('prints the pair for CUSTOM before the others', async () => {
    const ask = '{action: CUSTOM, provider: {name: opa}, rules: [{}]}';
    await writeFile(
      file,
      `${manifests}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: ${ask}
`,
    );
    const config = join(directory, 'mesh.yaml');
    await writeFile(
      config,
      'extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: opa.policy, port: 9191}}]',
    );
    const { out } = await compile('--mesh-config', config);
    const { filters } = JSON.parse(out) as { filters: { name: string }[] };
    expect(filters.map(({ name }) => name.slice('countersign.authz.http.'.length))).toEqual([
      'custom',
      'ext_authz',
      'audit',
      'deny',
      'allow',
    ]);
    expect((await compile('--mesh-config', config, '-o', 'table')).out).toMatch(
      /custom +CUSTOM +ask +ns\[shop\]/,
    );
  });

  it('prints the filter that verifies tokens before those that look at them, on HTTP alone', async () => {
    await writeFile(file, `${manifests}${tokens}`);
    const { out, err } = await compile();
    const { filters } = JSON.parse(out) as { filters: { name: string }[] };
    expect(filters.map(({ name }) => name)).toEqual([
      'countersign.authn.http.jwt',
      'countersign.authz.http.audit',
      'countersign.authz.http.deny',
      'countersign.authz.http.allow',
    ]);
    expect(err).toMatch(
      /^note RequestAuthentication shop\/people: no keys from https:\/\/i\.example\/keys yet/,
    );
    expect((await compile('-o', 'yaml')).out).toMatch(/# Verifies the token of a request/);
    const inline = tokens.replace('jwksUri: "https://i.example/keys"', `jwks: '${someJwks()}'`);
    await writeFile(file, `${manifests}${inline}`);
    expect((await compile('-o', 'table')).out).toMatch(
      /jwt +JWT +verify +ns\[shop\]-policy\[people\]-rule\[0\]/,
    );
    expect((await compile('--protocol', 'tcp')).out).not.toContain('authn');
    expect((await compile('--labels', 'app=other')).out).not.toContain('authn');
  });

  it('warns where HTTP rules meet a TCP port', async () => {
    const { out, err } = await compile('--protocol', 'tcp', '--port', '6379', '-o', 'table');
    expect(out).toBe('FILTER  ACTION  MODE  RULE\n');
    expect(err).toMatch(/warning ns\[shop\]-policy\[cart\]-rule\[0\] on port 6379: .* left out/);
  });
});
