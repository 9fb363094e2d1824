import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Authority, memoryKeyStore } from '../authority/index.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { Mesh, type Pod } from '../mesh/index.ts';
import { parseAuthorizationPolicy, type AuthorizationPolicy, type QuarantineRule } from '../policy/index.ts';
import { ResourceEncoder } from './encoder.ts';
import { Proxies } from './proxies.ts';
import type { ProxyLease, Workload } from './proxies-types.ts';
import { EXTENSION_CONFIG_TYPE, SECRET_TYPE } from './resource-types.ts';
import type { ProxyChange } from './workload-proxy.ts';

const schema = protobuf.Root.fromJSON(
  JSON.parse(
    readFileSync(new URL('../../proto/gen/envoy.json', import.meta.url), 'utf8'),
  ) as protobuf.INamespace,
);
const trustDomain = TrustDomain.parse('cluster.local');
const settings = { trustDomain: 'cluster.local', rootNamespace: 'root', defaultAction: 'deny' } as const;

let mesh: Mesh;
let authority: Authority;
let proxies: Proxies;
let events: string[];
let quarantine: readonly QuarantineRule[] = [];
const keys = new Map<string, string>();
let issuedFor: (workload: Workload) => void;

beforeEach(async () => {
  mesh = new Mesh({ rootNamespace: 'root' });
  events = [];
  quarantine = [];
  issuedFor = (): void => {};
  authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain,
    nowMs: Date.now,
    svidTtlMs: 3_600_000,
  });
  proxies = new Proxies({
    encoder: new ResourceEncoder(schema),
    mesh,
    settings,
    jwksOf: (uri) => keys.get(uri),
    quarantine: () => quarantine,
    trust: () => ({ own: authority.bundle, federated: [], knows: () => false }),
    nowMs: Date.now,
    ticks: () => 0,
    random: Math.random,
    issue: ({ id }) => authority.issue(id),
    observer: {
      waited: () => {},
      issued: (workload, _svid, reason) => {
        events.push(`issued ${workload.pod.name} ${reason}`);
        issuedFor(workload);
      },
      refused: (workload, why) => events.push(`refused ${workload.pod.name}: ${why}`),
      failed: (_workload, error) => events.push(`failed ${error.message}`),
    },
  });
});
afterEach(() => {
  proxies.close();
  authority.close();
});

function pod(name: string, uid = `uid-${name}`): Pod {
  return {
    kind: 'Pod',
    namespace: 'shop',
    name,
    uid,
    labels: { app: name },
    annotations: {},
    serviceAccount: name,
    nodeName: 'node',
    ips: [],
    phase: 'Running',
    terminating: false,
  };
}

function policy(name: string, app: string, path: string | readonly string[]): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy(
    {
      apiVersion: 'security.countersign.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { namespace: 'shop', name },
      spec: {
        selector: { matchLabels: { app } },
        rules: [{ to: [{ operation: { paths: [path].flat() } }] }],
      },
    },
    {},
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.policy;
}

function setPolicy(parsed: AuthorizationPolicy): void {
  mesh.update([
    {
      op: 'set',
      object: { kind: 'AuthorizationPolicy', namespace: parsed.namespace, name: parsed.name, policy: parsed },
    },
  ]);
}

function open(
  subject: Pod,
  recheck: () => string | undefined = () => undefined,
  factors: Workload['factors'] = [],
): ProxyLease {
  mesh.update([{ op: 'set', object: subject }]);
  const id = SpiffeId.workload(trustDomain, 'shop', subject.serviceAccount);
  return proxies.open({ id, pod: subject, factors }, recheck);
}

function found(lease: ProxyLease, typeUrl: string, name: string): { version: string; body: Uint8Array } {
  const looked = lease.proxy.lookup(typeUrl, name);
  if (looked.kind !== 'found') throw new Error(`${name}: ${looked.kind}`);
  return looked.resource;
}

describe('secrets', () => {
  it('gives all streams of a pod the same SVID, under both of its names', () => {
    const first = open(pod('web'));
    const second = open(pod('web'));
    expect(second.proxy).toBe(first.proxy);
    const type = schema.lookupType('envoy.extensions.transport_sockets.tls.v3.Secret');
    const chains = ['default', 'spiffe://cluster.local/ns/shop/sa/web'].map((name) => {
      const secret = type.toObject(type.decode(found(first, SECRET_TYPE, name).body), { bytes: String });
      expect(secret['name']).toBe(name);
      return (secret as { tls_certificate: unknown }).tls_certificate;
    });
    expect(chains[0]).toEqual(chains[1]);
    expect(events).toEqual(['issued web first']);
  });

  it('keeps trust domains apart inside the SPIFFE validator, and shares one encoding with everybody', () => {
    const web = open(pod('web'));
    const cart = open(pod('cart'));
    for (const name of ['ROOTCA', 'ALL', 'spiffe://cluster.local']) {
      expect(found(web, SECRET_TYPE, name)).toBe(found(cart, SECRET_TYPE, name));
    }
    const type = schema.lookupType('envoy.extensions.transport_sockets.tls.v3.Secret');
    const secret = type.toObject(type.decode(found(web, SECRET_TYPE, 'ALL').body), { json: true });
    expect(secret).toMatchObject({
      validation_context: {
        custom_validator_config: {
          name: 'envoy.tls.cert_validator.spiffe',
          typed_config: { trust_domains: [{ name: 'cluster.local' }] },
        },
      },
    });
  });

  it.each([
    ['spiffe://cluster.local/ns/shop/sa/cart', 'PERMISSION_DENIED'],
    ['spiffe://elsewhere.example', 'NOT_FOUND'],
    ['kubernetes://secret', 'NOT_FOUND'],
    ['', 'NOT_FOUND'],
  ])('refuses %s with %s', (name, code) => {
    expect(open(pod('web')).proxy.lookup(SECRET_TYPE, name)).toMatchObject({ kind: 'refused', code });
  });

  it('tells every stream when the bundle changes', () => {
    const seen: ProxyChange[] = [];
    open(pod('web')).proxy.watch((change) => seen.push(change));
    proxies.bundleChanged();
    expect(seen).toEqual([{ typeUrl: SECRET_TYPE }]);
  });
});

describe('filters', () => {
  const name = 'countersign.authz.http.allow';

  it('are one object for all workloads with the same policies', () => {
    const web = open(pod('web'));
    const other = open({ ...pod('web-2'), labels: { app: 'web' } });
    setPolicy(policy('p', 'web', '/a'));
    expect(found(web, EXTENSION_CONFIG_TYPE, name)).toBe(found(other, EXTENSION_CONFIG_TYPE, name));
  });

  it('reach just the workloads that a policy selects, and only where their bytes changed', () => {
    const web = open(pod('web'));
    const cart = open(pod('cart'));
    const seen: string[] = [];
    web.proxy.watch(() => seen.push('web'));
    cart.proxy.watch(() => seen.push('cart'));
    const before = found(web, EXTENSION_CONFIG_TYPE, name);
    const deny = found(web, EXTENSION_CONFIG_TYPE, 'countersign.authz.http.deny');
    setPolicy(policy('p', 'web', '/a'));
    expect(seen).toEqual(['web']);
    expect(found(web, EXTENSION_CONFIG_TYPE, name).version).not.toBe(before.version);
    expect(found(web, EXTENSION_CONFIG_TYPE, 'countersign.authz.http.deny').version).toBe(deny.version);
    mesh.update([{ op: 'delete', kind: 'AuthorizationPolicy', key: 'shop/p' }]);
    expect(found(web, EXTENSION_CONFIG_TYPE, name).version).toBe(before.version);
  });

  it('follow the labels that the pod has now', () => {
    setPolicy(policy('p', 'web', '/a'));
    const lease = open(pod('web'));
    const before = found(lease, EXTENSION_CONFIG_TYPE, name).version;
    mesh.update([{ op: 'set', object: { ...pod('web'), labels: { app: 'other' } } }]);
    expect(found(lease, EXTENSION_CONFIG_TYPE, name).version).not.toBe(before);
  });

  it('that are too large to be sent are told once, and other policies still come', () => {
    const web = open(pod('web'));
    for (let index = 0; index < 13; index += 1) {
      const paths = Array.from({ length: 125 }, (_, value) => `/${index}/${value}/${'x'.repeat(1_990)}`);
      setPolicy(policy(`p${index}`, 'web', paths));
    }
    const before = found(web, EXTENSION_CONFIG_TYPE, name).version;
    expect(events).toEqual([
      expect.stringMatching(/^failed too large to be sent.*http\.allow has \d+ bytes/),
    ]);
    mesh.update([{ op: 'delete', kind: 'AuthorizationPolicy', key: 'shop/p0' }]);
    expect(found(web, EXTENSION_CONFIG_TYPE, name).version).not.toBe(before);
    expect(events).toHaveLength(1);
  });

  it.each(['countersign.authz.http.other', 'envoy.filters.http.rbac', ''])(
    'refuses the name "%s"',
    (other) => {
      expect(open(pod('web')).proxy.lookup(EXTENSION_CONFIG_TYPE, other)).toMatchObject({
        kind: 'refused',
        code: 'NOT_FOUND',
      });
    },
  );
});

describe('workloads', () => {
  it('find their SVID again when they come back with a fresh token', () => {
    const first = open(pod('web'));
    const version = found(first, SECRET_TYPE, 'default').version;
    first.release();
    expect(found(open(pod('web')), SECRET_TYPE, 'default').version).toBe(version);
    expect(events).toEqual(['issued web first']);
  });

  it('are others when re-created under the same name', () => {
    const first = open(pod('web'));
    const version = found(first, SECRET_TYPE, 'default').version;
    const second = open(pod('web', 'another-uid'));
    expect(second.proxy).not.toBe(first.proxy);
    expect(found(second, SECRET_TYPE, 'default').version).not.toBe(version);
  });

  it('are refused their renewal, in the audit, when the pod goes', () => {
    const lease = open(pod('web'));
    found(lease, SECRET_TYPE, 'default');
    mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web' }]);
    expect(events).toEqual([
      'issued web first',
      'refused web: the pod is gone: its SVID will not be renewed',
    ]);
    expect(lease.proxy.lookup(SECRET_TYPE, 'default').kind).toBe('pending');
    expect(proxies.size).toBe(0);
  });

  it('name the proof that allowed the SVID, not that of a stream that proves nothing any more', () => {
    let expired: string | undefined;
    const factors = (detail: string): Workload['factors'] => [{ factor: 'token', outcome: detail }];
    const seen: Workload['factors'][] = [];
    issuedFor = (workload) => seen.push(workload.factors);
    const first = open(pod('web'), () => expired, factors('of the first'));
    open(pod('web'), () => undefined, factors('of the second'));
    found(first, SECRET_TYPE, 'default');
    expired = 'the token expired';
    proxies.renew('shop/web');
    expect(seen).toEqual([factors('of the first'), factors('of the second')]);
  });

  it('renew on order while any stream proves them, and not otherwise', () => {
    let gone: string | undefined;
    const lease = open(pod('web'), () => gone);
    found(lease, SECRET_TYPE, 'default');
    expect(proxies.renew('shop/web')).toBe(proxies.svidOf('shop/web')?.svid);
    gone = 'the token expired';
    expect(proxies.renew('shop/web')).toBe('the token expired');
    expect(events.at(-1)).toBe('refused web: the token expired');
    expect(proxies.renew('shop/unknown')).toMatch(/no Envoy of this pod is connected/u);
  });

  it('are others when they run as another service account under the same UID', () => {
    const first = open(pod('web'));
    found(first, SECRET_TYPE, 'default');
    const second = open({ ...pod('web'), serviceAccount: 'guest' });
    expect(events.at(-1)).toMatch(/^refused web: the pod runs as another service account/u);
    expect(second.proxy.id.uri).toBe('spiffe://cluster.local/ns/shop/sa/guest');
    const secret = found(second, SECRET_TYPE, 'spiffe://cluster.local/ns/shop/sa/guest');
    expect(Buffer.from(secret.body).toString('latin1')).not.toContain('/sa/web');
    expect(second.proxy.lookup(SECRET_TYPE, 'spiffe://cluster.local/ns/shop/sa/web').kind).toBe('refused');
  });

  it('are others when another pod claims their UID', () => {
    const victim = open(pod('payments', 'one-uid'));
    found(victim, SECRET_TYPE, 'default');
    const thief = open(pod('intruder', 'one-uid'));
    expect(thief.proxy).not.toBe(victim.proxy);
    expect(thief.proxy.lookup(SECRET_TYPE, victim.proxy.id.uri).kind).toBe('refused');
  });
});
