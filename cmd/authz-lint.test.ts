import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { authzLintCommand } from './authz-lint.ts';
import { runInProcess, type Ran } from '../test/harness/command.ts';
import { authzTestCommand } from './authz-test.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'authz-lint-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await rm(directory, { recursive: true });
});

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

const policy = (name: string, spec: string): string => `---
apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
`;
const surroundings = `---
apiVersion: v1
kind: Pod
metadata: {name: cart-0, namespace: shop, labels: {app: cart}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: cache, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{name: redis, port: 6379}, {name: http-main, port: 80}, {name: tcp-x, port: 1, targetPort: 5432}]
`;

describe('authz lint', () => {
  const lint = (...argv: string[]): Promise<Ran> => runInProcess(authzLintCommand(), ...argv);

  it('finds nothing, exit 0', async () => {
    const path = await file('a.yaml', policy('ok', '{rules: [{from: [{source: {namespaces: [shop]}}]}]}'));
    expect(await lint('-f', path)).toEqual({ out: 'SEVERITY  PLACE  CODE  FINDING\n', err: '', exitCode: 0 });
  });

  it('warns with place and code, exit 0', async () => {
    const path = await file(
      'a.yaml',
      `${surroundings}${policy('a', '{rules: [{from: [{source: {serviceAccounts: [wbe]}}], to: [{operation: {methods: [GET]}}]}]}')}${policy('b', '{selector: {matchLabels: {app: other}}, action: DENY, rules: [{}]}')}`,
    );
    const { out, exitCode } = await lint('-f', path, '-o', 'json');
    const { findings } = JSON.parse(out) as { findings: { code: string; line: number; message: string }[] };
    expect(findings.map(({ code }) => code).toSorted()).toEqual([
      'http-on-tcp',
      'selects-nothing',
      'unknown-source',
    ]);
    expect(findings.find(({ code }) => code === 'http-on-tcp')?.message).toContain('TCP port 5432, 6379');
    expect(findings.every(({ line }) => line > 10)).toBe(true);
    expect(exitCode).toBe(0);
  });

  it('judges RequestAuthentication and PeerAuthentication, alone and together', async () => {
    const of = (kind: string, name: string, spec: string): string =>
      policy(name, spec).replace('AuthorizationPolicy', kind);
    const onTokens = '{rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}';
    const good = 'jwtRules: [{issuer: i, jwksUri: "https://i.example"}]';
    const path = await file(
      'a.yaml',
      [
        surroundings,
        policy('tokens', onTokens),
        of('PeerAuthentication', 'b', '{mtls: {mode: STRICT}}'),
        of('PeerAuthentication', 'a', '{mtls: {mode: STRICT}}'),
        of('RequestAuthentication', 'other', `{selector: {matchLabels: {app: none}}, ${good}}`),
      ].join(''),
    );
    const { out, exitCode } = await lint('-f', path, '-o', 'json');
    const { findings } = JSON.parse(out) as { findings: { code: string; object: string; path: string }[] };
    expect(findings.map(({ code, object, path: at }) => [code, object, at])).toEqual(
      expect.arrayContaining([
        ['shadowed-rule', 'PeerAuthentication shop/b', 'metadata.name'],
        ['selects-nothing', 'RequestAuthentication shop/other', 'spec.selector'],
        [
          'unverified-token',
          'AuthorizationPolicy shop/tokens',
          'spec.rules[0].from[0].source.requestPrincipals',
        ],
        ['http-on-tcp', 'AuthorizationPolicy shop/tokens', 'spec.rules[0]'],
      ]),
    );
    expect(findings).toHaveLength(4);
    expect(exitCode).toBe(0);
    await writeFile(path, policy('tokens', onTokens));
    expect((await lint('-f', path)).out).toMatch(
      /unverified-token +spec\.rules\[0\]\.from\[0\]\.source\.requestPrincipals: no Req/,
    );
    await writeFile(path, of('RequestAuthentication', 'r', '{jwtRules: [{isuer: i}]}'));
    expect((await lint('-f', path)).out).toMatch(/a\.yaml:5 .* unknown field "isuer"; did you mean issuer\?/);
    await writeFile(path, `${policy('tokens', onTokens)}${of('RequestAuthentication', 'r', `{${good}}`)}`);
    expect(await lint('-f', path, '-o', 'junit')).toMatchObject({
      out: expect.stringContaining('name="RequestAuthentication shop/r"/>') as string,
    });
  });

  it('exit 1 on errors, with file and line; the other policies are judged all the same', async () => {
    const path = await file(
      'a.yaml',
      `${policy('bad', '{action: DNEY, rules: [{}]}')}${policy('all', '{rules: [{}]}')}${policy('twice', '{rules: [{}]}')}`,
    );
    const { out, exitCode } = await lint('-f', path);
    expect(out).toContain(`error     ${path}:5  `);
    expect(out).toContain('spec.action: expected ALLOW, DENY, AUDIT or CUSTOM, found "DNEY"');
    expect(out).toContain('shadowed-rule');
    expect(exitCode).toBe(1);
  });

  it('exit 2 where a file cannot be read', async () => {
    const { out, exitCode } = await lint('-f', join(directory, 'none.yaml'));
    expect(out).toMatch(/cannot be read/);
    expect(exitCode).toBe(2);
  });

  it('writes SARIF', async () => {
    const path = await file('a.yaml', policy('bad', '{rule: []}'));
    const { out, exitCode } = await lint('-f', path, '-o', 'sarif');
    expect(JSON.parse(out)).toMatchObject({
      version: '2.1.0',
      runs: [
        {
          tool: { driver: { name: 'countersign', rules: [{ id: 'invalid' }] } },
          results: [
            {
              ruleId: 'invalid',
              level: 'error',
              message: { text: 'spec.rule: unknown field "rule"; did you mean rules?' },
              locations: [
                {
                  physicalLocation: { artifactLocation: { uri: path }, region: { startLine: 5 } },
                  logicalLocations: [{ fullyQualifiedName: 'AuthorizationPolicy shop/bad' }],
                },
              ],
            },
          ],
        },
      ],
    });
    expect(exitCode).toBe(1);
  });

  it('writes JUnit, with whatever stands in a document', async () => {
    const path = await file(
      'a.yaml',
      `${policy('bad', `{action: "<&\\"\\u0001>", rules: [{}]}`)}${policy('ok', '{rules: [{}]}')}`,
    );
    const { out } = await lint('-f', path, '-o', 'junit');
    expect(out).toContain('tests="2" failures="1"');
    expect(out).toContain('name="AuthorizationPolicy shop/ok"/>');
    expect(out).toMatch(/<failure message="[^"<>]*&#60;&#38;[^"<>]*"\/>/);
    expect(out).not.toContain('\u0001');
  });
});

describe('authz test', () => {
  const cases = `cases:
- {from: shop/web, to: shop/cart-0, expect: allow}
- {name: not he, from: shop/billing, to: shop/cart-0, expect: allow}
`;
  const web = policy('web', '{rules: [{from: [{source: {serviceAccounts: [web]}}]}]}');
  const test = async (expectations: string, ...argv: string[]): Promise<Ran> =>
    runInProcess(
      authzTestCommand(),
      ...['-f', await file('a.yaml', `${surroundings}${web}`), '-t', await file('cases.yaml', expectations)],
      ...argv,
    );

  it('says which expectation fails and why, exit 1', async () => {
    const { out, err, exitCode } = await test(cases);
    expect(out).toMatch(/^pass {4}spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web -> shop\/cart-0: GET \/ /m);
    expect(out).toMatch(/^FAIL {4}not he .*cases\.yaml:3 +expected ALLOW, got DENY: no ALLOW rule matches/m);
    expect(out).toMatch(/\n\n1 passed, 1 failed\n$/);
    expect(err).toBe('');
    expect(exitCode).toBe(1);
  });

  it('exit 0 where all is as expected', async () => {
    const { out, exitCode } = await test(cases.replace(/allow}\n$/, 'deny}\n'), '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({ passed: 2, failed: 0 });
    expect(exitCode).toBe(0);
    const other = await test(cases.split('\n').slice(0, 2).join('\n'), '--trust-domain', 'other');
    expect(other.out).toMatch(/spiffe:\/\/other\/ns/);
  });

  it('writes JUnit', async () => {
    const { out } = await test(cases, '-o', 'junit');
    expect(out).toContain('tests="2" failures="1"');
    expect(out).toMatch(/name="not he"><failure message="expected ALLOW, got DENY/);
  });

  it('tries nothing on expectations with errors, exit 2', async () => {
    const { out, err, exitCode } = await test(cases.replace('expect', 'expcet'));
    expect(err).toMatch(/cases\.yaml:2 cases\[0\]\.expcet: unknown field "expcet"; did you mean expect\?/);
    expect(out).toBe('');
    expect(exitCode).toBe(2);
  });
});
