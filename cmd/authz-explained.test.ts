import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  compile,
  parseAuthorizationPolicy,
  policiesFor,
  renderIssues,
  type MeshSettings,
} from '../src/policy/index.ts';
import { explainedYaml } from './authz-explained.ts';

const settings: MeshSettings = {
  trustDomain: 'cluster.local',
  rootNamespace: 'root',
  defaultAction: 'deny',
  authorizers: [
    {
      name: 'asked',
      protocol: 'grpc',
      host: 'a.example',
      port: 9000,
      timeoutMs: 600,
      failOpen: false,
      statusOnError: 403,
    },
  ],
};

function explained(...specs: object[]): { readonly text: string; readonly filters: unknown } {
  const policies = specs.map((spec, index) => {
    const parsed = parseAuthorizationPolicy({
      apiVersion: 'security.countersign.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: `p${index}`, namespace: 'shop' },
      spec,
    });
    if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
    return parsed.policy;
  });
  const selected = policiesFor(policies, { namespace: 'shop', labels: {} }, settings);
  const { custom, audit, deny, allow } = compile(selected, { protocol: 'http', settings });
  const filters = [...(custom ? [custom.select, custom.ask] : []), audit, deny, allow];
  return { text: explainedYaml(filters, selected), filters };
}
const comments = (...specs: object[]): string[] =>
  explained(...specs)
    .text.split('\n')
    .filter((line) => line.trimStart().startsWith('#'))
    .map((line) => line.trim());

describe('authz compile -o yaml', () => {
  it('explains each filter and each rule where it stands', () => {
    expect(
      comments(
        {
          rules: [
            {
              from: [{ source: { namespaces: ['shop', 'web'] } }, { source: { principals: ['*'] } }],
              to: [{ operation: { methods: ['GET'], paths: ['/api/*'], notPaths: ['/api/admin'] } }],
              when: [{ key: 'request.headers[x-a]', notValues: ['1'] }],
            },
          ],
        },
        { action: 'CUSTOM', provider: { name: 'asked' }, rules: [{}] },
        { action: 'DENY', mode: 'Shadow', reason: 'a try', rules: [{}] },
      ),
    ).toEqual([
      '# CUSTOM: marks the requests that the external authorizer is asked about; decides nothing itself.',
      '# CUSTOM policy shop/p1, rule 0: anybody and anything',
      '# Asks the external authorizer about the marked requests; what it denies is denied.',
      '# AUDIT: writes down which requests matched; decides nothing. It has no rules here: everything passes on.',
      '# DENY: refuses what any of its rules matches. Its shadow rules are written to the access log, and decide nothing. What CUSTOM rules select is refused, too, where the filters that ask are not there.',
      '# CUSTOM policy shop/p1, rule 0: anybody and anything',
      '# DENY policy shop/p2, rule 0 (Shadow: not enforced): anybody and anything -- a try',
      '# ALLOW: refuses what none of its rules matches.',
      '# ALLOW policy shop/p0, rule 0: from source namespace shop or web, or source principal *; to method GET and path /api/* not /api/admin; when header x-a not 1',
    ]);
  });

  it('says of an empty ALLOW filter that nothing passes', () => {
    expect(comments().at(-1)).toMatch(/^# ALLOW: .* nothing passes\.$/);
  });

  it('stays the same data, whatever a policy says', () => {
    const value = fc.oneof(
      fc.string({ minLength: 1 }),
      fc.constantFrom('a\nfilters: []', 'a\r\nb', 'a\u2028b', '# a', 'a\u0085b', 'x'.repeat(1_000)),
    );
    fc.assert(
      fc.property(value, value, (header, reason) => {
        fc.pre(header === header.trim() && !header.includes('*') && header.isWellFormed());
        const when = [{ key: 'request.headers[x]', values: [header] }];
        const { text, filters } = explained(
          { reason, rules: [{ when }] },
          { action: 'DENY', rules: [{ when }] },
        );
        expect(parse(text)).toEqual({ filters });
      }),
      { seed: 4, numRuns: 50 },
    );
  });

  it('lets no control character of a policy through to a terminal', () => {
    const { text } = explained({ reason: 'a\u001b[31m\u202eb\nc', rules: [{}] });
    expect(text).toContain(String.raw`-- a\u001b[31m\u202eb\u000ac`);
  });
});
