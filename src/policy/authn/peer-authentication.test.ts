import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import {
  compilePeerModes,
  Evaluator,
  parsePeerAuthentication,
  renderIssues,
  resolvePeerModes,
  type PeerAuthentication,
  type PeerModes,
  type Request,
} from '../index.ts';
import { peerAuthentication } from './testing.ts';

const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'allow' } as const;
const target = { namespace: 'shop', labels: { app: 'cart', tier: 'back' } };
const app = { app: 'cart' };
const mode = (of: string): object => ({ mtls: { mode: of } });

describe('PeerAuthentication', () => {
  it('is read whole, with the defaults', () => {
    const ports = { 8080: { mode: 'DISABLE' }, 80: { mode: 'UNSET' }, 443: {} };
    const created = { creationTimestamp: '2026-01-01T00:00:00Z' };
    expect(peerAuthentication({ ...mode('STRICT'), portLevelMtls: ports }, created, app)).toMatchObject({
      mode: 'STRICT',
      ports: new Map([
        [80, undefined],
        [443, undefined],
        [8080, 'DISABLE'],
      ]),
      createdAtMs: Date.UTC(2026, 0),
      selector: app,
    });
    for (const spec of [{}, { mtls: {} }, mode('UNSET')])
      expect(peerAuthentication(spec, { creationTimestamp: null })).toMatchObject({
        mode: undefined,
        createdAtMs: undefined,
      });
  });

  const selector = { matchLabels: app };
  it.each<[object, RegExp]>([
    [
      { mtls: { mode: 'strict' } },
      /^error spec\.mtls\.mode: expected STRICT, PERMISSIVE, DISABLE or UNSET, found "strict"$/,
    ],
    [{ mtls: 'STRICT' }, /^error spec\.mtls: expected a mapping/],
    [{ mtl: {} }, /spec\.mtl: unknown field "mtl"; did you mean mtls\?/],
    [{ portLevelMtls: { 80: {} } }, /spec\.portLevelMtls: needs a selector/],
    [{ selector, portLevelMtls: { http: {} } }, /spec\.portLevelMtls\.http: "http" is no port/],
    [{ selector, portLevelMtls: { 70000: {} } }, /spec\.portLevelMtls\["70000"\]: "70000" is no port/],
    [
      { selector, portLevelMtls: { 80: { mode: 7 } } },
      /spec\.portLevelMtls\["80"\]\.mode: .* found the number 7/,
    ],
    [{ selector, portLevelMtls: [] }, /spec\.portLevelMtls: expected a mapping of ports, found a list/],
    [{ targetRef: {} }, /spec\.targetRef: targetRef is not supported yet/],
  ])('is refused: %j', (spec, message) => {
    const metadata = { name: 'p', namespace: 'shop' };
    const apiVersion = 'security.countersign.dev/v1';
    const parsed = parsePeerAuthentication({ apiVersion, kind: 'PeerAuthentication', metadata, spec });
    expect(parsed.ok).toBe(false);
    expect(renderIssues(parsed.issues)).toMatch(message);
  });

  it('is warned about where it lets plaintext in, or counts nowhere', () => {
    const warned = (spec: object, namespace = 'shop'): string => {
      const metadata = { name: 'p', namespace, annotations: { 'istio.io/dry-run': 'true' } };
      const document = { apiVersion: 'security.istio.io/v1', kind: 'PeerAuthentication', metadata, spec };
      return renderIssues(parsePeerAuthentication(document, { rootNamespace: 'root' }).issues);
    };
    expect(warned(mode('PERMISSIVE'))).toMatch(
      /spec\.mtls\.mode: PERMISSIVE lets callers in that prove no identity/,
    );
    expect(warned({ selector, portLevelMtls: { 80: { mode: 'DISABLE' } } })).toMatch(
      /spec\.portLevelMtls\["80"\]\.mode: DISABLE takes plaintext alone/,
    );
    expect(warned({ selector, ...mode('STRICT') }, 'root')).toMatch(/spec\.selector: .* not used at all/);
    expect(warned(mode('STRICT'))).toMatch(/^warning metadata\.annotations.*has no effect/);
  });
});

describe('resolvePeerModes', () => {
  const resolve = (...policies: PeerAuthentication[]): PeerModes =>
    resolvePeerModes(policies, target, settings);
  const mesh = peerAuthentication(mode('PERMISSIVE'), { name: 'mesh', namespace: 'root' });
  const namespace = peerAuthentication(mode('DISABLE'), { name: 'namespace' });
  const own = (spec: object, metadata: object = {}): PeerAuthentication =>
    peerAuthentication(spec, { name: 'own', ...metadata }, app);

  it('is STRICT by default', () => {
    expect(resolve()).toEqual({ mode: 'STRICT', ports: new Map(), from: [] });
  });

  it('goes from the workload over the namespace to the mesh', () => {
    expect(resolve(mesh)).toMatchObject({ mode: 'PERMISSIVE', from: ['root/mesh'] });
    expect(resolve(namespace, mesh)).toMatchObject({ mode: 'DISABLE', from: ['shop/namespace'] });
    expect(resolve(mesh, own(mode('STRICT')), namespace)).toMatchObject({
      mode: 'STRICT',
      from: ['shop/own'],
    });
    expect(resolve(mesh, own(mode('UNSET')), peerAuthentication({}))).toMatchObject({
      mode: 'PERMISSIVE',
      from: ['root/mesh'],
    });
  });

  it('by port, where a port without a mode is as the workload', () => {
    const portLevelMtls = {
      81: { mode: 'STRICT' },
      80: { mode: 'UNSET' },
      79: { mode: 'DISABLE' },
      82: { mode: 'PERMISSIVE' },
    };
    expect(resolve(mesh, own({ portLevelMtls }))).toEqual({
      mode: 'PERMISSIVE',
      ports: new Map([
        [79, 'DISABLE'],
        [81, 'STRICT'],
      ]),
      from: ['root/mesh', 'shop/own'],
    });
  });

  it('takes the oldest, then the first by name', () => {
    const at = (year: number): object => ({ creationTimestamp: `${year}-01-01T00:00:00Z` });
    const [a, b] = [own(mode('STRICT'), { name: 'a' }), own(mode('DISABLE'), { name: 'b' })];
    expect(resolve(b, a).from).toEqual(['shop/a']);
    expect(resolve(a, own(mode('DISABLE'), { name: 'b', ...at(2026) })).from).toEqual(['shop/b']);
    const older = own(mode('DISABLE'), { name: 'z', ...at(2025) });
    expect(resolve(own(mode('STRICT'), { name: 'a', ...at(2026) }), older).from).toEqual(['shop/z']);
  });

  it('takes nothing from other namespaces, other labels, or the root namespace with a selector', () => {
    const others = [
      peerAuthentication(mode('DISABLE'), { namespace: 'other' }),
      peerAuthentication(mode('DISABLE'), {}, { app: 'other' }),
      peerAuthentication(mode('DISABLE'), { namespace: 'root' }, app),
    ];
    expect(resolve(...others)).toMatchObject({ mode: 'STRICT', from: [] });
  });
});

describe('the evaluator, with peer modes', () => {
  const request = (principal: string | undefined, destinationPort?: number): Request => ({
    ...{ protocol: 'http', principal, destinationPort, headers: {}, method: 'GET', path: '/' },
    ...{
      sourceIp: undefined,
      remoteIp: undefined,
      destinationIp: undefined,
      sni: undefined,
      host: undefined,
    },
  });
  const some = 'spiffe://td/ns/a/sa/b';
  const decide = (peer: PeerModes, ...asked: Parameters<typeof request>): string => {
    const { verdict, reason } = new Evaluator([], { settings, peer }).decide(request(...asked));
    return `${verdict}: ${reason}`;
  };
  const ports = new Map([[80, 'STRICT'] as const]);

  it('turns away who does not come as it should, and says by which document', () => {
    expect(decide({ mode: 'STRICT', ports: new Map(), from: [] }, undefined)).toMatch(
      /^DENY: the caller comes without mTLS, and the workload takes mTLS alone \(STRICT, the default, no PeerAuthentication/,
    );
    const disabled: PeerModes = { mode: 'DISABLE', ports, from: ['root/mesh', 'shop/own'] };
    expect(decide(disabled, some, 81)).toMatch(
      /^DENY: the caller comes with mTLS, and port 81 .* plaintext alone \(DISABLE, PeerAuthentication root\/mesh and shop\/own\)/,
    );
    expect(decide(disabled, some, 80)).toMatch(/^ALLOW/);
    expect(decide(disabled, undefined, 80)).toMatch(/^DENY: .* port 80 of the workload takes mTLS alone/);
    expect(decide(disabled, undefined, 81)).toMatch(/^ALLOW/);
  });

  it('takes an unknown port for the strictest', () => {
    const open: PeerModes = { mode: 'PERMISSIVE', ports, from: [] };
    expect(decide(open, undefined)).toMatch(/^DENY: .* port 80 of the workload/);
    expect(decide(open, some)).toMatch(/^ALLOW/);
  });
});

describe('the peer filters', () => {
  const schema = protobuf.Root.fromJSON(
    JSON.parse(
      readFileSync(new URL('../../../proto/gen/envoy.json', import.meta.url), 'utf8'),
    ) as protobuf.INamespace,
  );
  const type = schema.lookupType('envoy.extensions.filters.network.rbac.v3.RBAC');
  const rules = (modes: Omit<PeerModes, 'from'>): unknown[] => {
    const { mtls, plaintext } = compilePeerModes({ ...modes, from: [] });
    return [mtls, plaintext].map(({ typed_config: { '@type': url, ...config } }) => {
      expect(url).toMatch(/network\.rbac\.v3\.RBAC$/);
      const written = type.toObject(type.decode(type.encode(type.fromObject(config)).finish()), {
        json: true,
        enums: String,
      });
      return written['rules'] === undefined ? 'all pass' : config.rules;
    });
  };
  const only = (action: string, ...ports: number[]): unknown => ({
    action,
    policies: {
      ports: { permissions: ports.map((port) => ({ destination_port: port })), principals: [{ any: true }] },
    },
  });
  const nobody = { action: 'ALLOW', policies: {} };

  it.each([
    [{ mode: 'STRICT', ports: new Map() }, 'all pass', nobody],
    [{ mode: 'PERMISSIVE', ports: new Map() }, 'all pass', 'all pass'],
    [{ mode: 'DISABLE', ports: new Map() }, nobody, 'all pass'],
    [
      {
        mode: 'STRICT',
        ports: new Map([
          [2, 'PERMISSIVE'],
          [1, 'DISABLE'],
        ]),
      },
      only('DENY', 1),
      only('ALLOW', 1, 2),
    ],
    [
      {
        mode: 'DISABLE',
        ports: new Map([
          [1, 'PERMISSIVE'],
          [2, 'STRICT'],
        ]),
      },
      only('ALLOW', 1, 2),
      only('DENY', 2),
    ],
  ] as [Omit<PeerModes, 'from'>, unknown, unknown][])(
    'of %o are as small as can be',
    (modes, mtls, plaintext) => {
      expect(rules(modes)).toEqual([mtls, plaintext]);
    },
  );
});
