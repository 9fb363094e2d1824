import { expect, it } from 'vitest';
import { compile, parseAuthorizationPolicy, renderIssues } from '../../src/policy/index.ts';
import { freePort } from '../harness/ports.ts';
import { StaticEnvoy } from './static-envoy.ts';

const x = (length: number): string => 'x'.repeat(length);

/** Four bytes of UTF-8 for two characters. */
const half = '\u{1f511}'.repeat(500);
const wide = half + half;

/** Each as long as the parser lets it be. */
const source = {
  principals: [`*${x(2_000)}`, `${x(2_000)}*`, x(2_000)],
};
const rules = [
  { from: [{ source }] },
  { from: [{ source: { namespaces: [x(63), `${x(63)}*`, `*${x(63)}`] } }] },
  { from: [{ source: { serviceAccounts: [`${x(253)}/${x(253)}`] } }] },
  { from: [{ source: { trustDomains: [x(255), `${x(255)}*`, `*${x(70)}`, `*${'.'.repeat(70)}`] } }] },
  {
    from: [
      {
        source: {
          namespaces: [`*${'-'.repeat(63)}`],
          requestPrincipals: [`*${half}/${half}`, `${half}/${half}*`],
        },
      },
    ],
  },
  { to: [{ operation: { paths: [`/${x(91)}/{*}`, `/${x(88)}/{*}/{**}`, x(2_000)] } }] },
  { to: [{ operation: { paths: [`/${Array(24).fill('{*}').join('/')}`, `/${'.'.repeat(91)}/{*}`] } }] },
  { to: [{ operation: { paths: [`/${wide}*`, `*${wide}`], hosts: [`*${wide}`], methods: [wide] } }] },
  ...['x', 'X-' + x(1_000)].map((name) => ({
    when: [{ key: `request.headers[${name}]`, values: ['*', wide, `${wide}*`, `*${wide}`] }],
  })),
  { when: [{ key: `request.auth.claims[${half.slice(0, 900)}]`, values: ['*', `*${wide}`] }] },
  { when: [{ key: 'connection.sni', values: ['*', `*${wide}`] }] },
  {
    when: [
      { key: `experimental.envoy.filters.a[${half.slice(0, 900)}]`, values: [`[*${wide}]`, `${wide}*`] },
    ],
  },
  { to: [{ operation: { hosts: [`*${x(2_000)}`], methods: [`${x(2_000)}*`] } }] },
];

it('Envoy takes the longest values that the parser takes: it would refuse the whole filter for one', async () => {
  const policies = (['ALLOW', 'DENY'] as const).map((action) => {
    const parsed = parseAuthorizationPolicy({
      apiVersion: 'security.countersign.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: action.toLowerCase(), namespace: 'shop' },
      spec: { action, rules },
    });
    if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
    return parsed.policy;
  });
  const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;
  const envoy = new StaticEnvoy({
    host: '127.0.0.1',
    port: await freePort(),
    adminPort: await freePort(),
    before: [],
    sets: new Map([['longest', compile(policies, { protocol: 'http', settings })]]),
  });
  try {
    await envoy.ready();
    expect(envoy.log).not.toContain('program size');
  } finally {
    await envoy.stop();
  }
});
