import { connect } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  compile,
  parseAuthorizationPolicy,
  renderIssues,
  type CompiledFilters,
  type Parsed,
} from '../../src/policy/index.ts';
import { freePort } from '../harness/ports.ts';
import { StaticEnvoy } from './static-envoy.ts';

const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'allow' } as const;

/** What a caller may write there, and how Envoy answers. */
const unseen: Readonly<Record<string, readonly string[]>> = {
  connection: ['close', 'keep-alive', 'upgrade', 'x'],
  'keep-alive': ['timeout=5'],
  'proxy-connection': ['keep-alive'],
  te: ['gzip', 'deflate;q=0.5'],
  'transfer-encoding': ['chunked', 'identity'],
  upgrade: ['websocket', 'h2c', 'x'],
};

function denying(header: string): Parsed {
  return parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'deny', namespace: 'shop' },
    spec: { action: 'DENY', rules: [{ when: [{ key: `request.headers[${header}]`, values: ['*'] }] }] },
  });
}

function compiled(header: string): CompiledFilters {
  const parsed = denying('x-stand-in');
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  const { deny, ...others } = compile([parsed.policy], { protocol: 'http', settings });
  const text = JSON.stringify(deny).replaceAll('x-stand-in', header);
  return { ...others, deny: JSON.parse(text) as CompiledFilters['deny'] };
}

const port = await freePort();
let envoy: StaticEnvoy;

beforeAll(async () => {
  const names = [...Object.keys(unseen), 'x-seen'];
  envoy = new StaticEnvoy({
    ...{ host: '127.0.0.1', port, adminPort: await freePort(), before: [] },
    sets: new Map(names.map((name) => [name, compiled(name)])),
  });
  await envoy.ready();
});
afterAll(() => envoy.stop());

/** The whole answer, until Envoy closes or has said that rules denied. */
async function ask(header: string, lines: readonly string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (/^HTTP\/1\.1 [2-5]\d\d[^]*\r\n\r\n(RBAC: access denied)?$/.test(text)) socket.destroy();
    });
    socket.once('error', reject).once('close', () => resolve(text));
    socket.write(['GET / HTTP/1.1', 'host: a', `x-set: ${header}`, ...lines, '', ''].join('\r\n'));
  });
}

it.each(Object.entries(unseen))('no rule sees %s, so none may name it', async (header, values) => {
  for (const value of values) {
    for (const more of [[], ['connection: upgrade']]) {
      const lines = header === 'connection' ? [`${header}: ${value}`] : [`${header}: ${value}`, ...more];
      const body = header === 'transfer-encoding' ? ['', '0'] : [];
      expect(await ask(header, [...lines, ...body]), lines.join(', ')).not.toContain('RBAC');
    }
  }
  const { ok, issues } = denying(header);
  expect(ok).toBe(false);
  expect(renderIssues(issues)).toMatch(/key: no rule can judge by /);
});

it('rules see other headers', async () => {
  expect(await ask('x-seen', ['x-seen: 1'])).toContain('RBAC: access denied');
});
