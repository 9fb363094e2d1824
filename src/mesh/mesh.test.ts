import { describe, expect, it } from 'vitest';
import { keyOf, Mesh } from './index.ts';
import type { MeshNotice, MeshUpdate, Pod, PolicyObject, ServiceAccount } from './index.ts';

function pod(name: string, parts: Partial<Pod> = {}): Pod {
  return {
    kind: 'Pod',
    namespace: 'shop',
    name,
    uid: `uid-${name}`,
    labels: {},
    annotations: {},
    serviceAccount: 'default',
    nodeName: 'node-a',
    ips: [],
    phase: 'Running',
    terminating: false,
    ...parts,
  };
}

function policy(namespace: string, name: string, selector: Record<string, string> = {}): PolicyObject {
  return {
    kind: 'AuthorizationPolicy',
    namespace,
    name,
    policy: {
      apiGroup: 'security.countersign.dev',
      namespace,
      name,
      selector,
      action: 'ALLOW',
      mode: 'Enforce',
      reason: undefined,
      rules: [],
      digest: name,
    },
  };
}

const account: ServiceAccount = {
  kind: 'ServiceAccount',
  namespace: 'shop',
  name: 'web',
  uid: 'sa-1',
  annotations: {},
};

function set(...objects: Extract<MeshUpdate, { op: 'set' }>['object'][]): MeshUpdate[] {
  return objects.map((object) => ({ op: 'set', object }));
}

function empty(): Mesh {
  return new Mesh({ rootNamespace: 'root' });
}

describe('update', () => {
  it('names what was added, changed and removed, with both versions', () => {
    const mesh = empty();
    expect(mesh.generation).toBe(0);
    const first = pod('a');
    expect(mesh.update(set(first, account))).toEqual({
      generation: 1,
      changes: [
        { kind: 'Pod', key: 'shop/a', before: undefined, after: first },
        { kind: 'ServiceAccount', key: 'shop/web', before: undefined, after: account },
      ],
    });
    const second = pod('a', { phase: 'Failed' });
    expect(mesh.update(set(second))?.changes).toEqual([
      { kind: 'Pod', key: 'shop/a', before: first, after: second },
    ]);
    expect(mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/a' }])?.changes).toEqual([
      { kind: 'Pod', key: 'shop/a', before: second, after: undefined },
    ]);
    expect(mesh.generation).toBe(3);
    expect(mesh.get('Pod', 'shop/a')).toBeUndefined();
    expect(mesh.get('ServiceAccount', 'shop/web')).toBe(account);
  });

  it('is no change for an equal object, nor for the deletion of what is not there', () => {
    const mesh = empty();
    mesh.update(set(pod('a', { labels: { x: '1', y: '2' } })));
    const heard: MeshNotice[] = [];
    mesh.subscribe((notice) => heard.push(notice));
    expect(mesh.update(set(pod('a', { labels: { y: '2', x: '1' } })))).toBeUndefined();
    expect(mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/b' }])).toBeUndefined();
    expect(mesh.generation).toBe(1);
    expect(heard).toEqual([]);
  });

  it('counts several updates of one object in a batch as their last', () => {
    const mesh = empty();
    expect(mesh.update([...set(pod('a')), { op: 'delete', kind: 'Pod', key: 'shop/a' }])).toBeUndefined();
    const last = pod('a', { nodeName: 'node-b' });
    expect(mesh.update(set(pod('a'), last))?.changes).toEqual([
      { kind: 'Pod', key: 'shop/a', before: undefined, after: last },
    ]);
  });

  it('keeps objects of the same name and different kind apart', () => {
    const mesh = empty();
    mesh.update(set(pod('web'), account));
    mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web' }]);
    expect(mesh.list('Pod')).toEqual([]);
    expect(mesh.list('ServiceAccount')).toEqual([account]);
  });

  it('keys cluster-scoped objects by their name alone', () => {
    expect(keyOf({ kind: 'Namespace', name: 'shop', labels: {} })).toBe('shop');
    expect(keyOf(account)).toBe('shop/web');
  });
});

describe('subscribe', () => {
  it('lets a throwing listener harm nobody else, and reports it', () => {
    const errors: unknown[] = [];
    const mesh = new Mesh({ rootNamespace: 'root', onListenerError: (error) => errors.push(error) });
    const heard: number[] = [];
    mesh.subscribe(() => {
      throw new Error('broken listener');
    });
    mesh.subscribe((notice) => heard.push(notice.generation));
    expect(mesh.update(set(pod('a')))?.generation).toBe(1);
    expect(heard).toEqual([1]);
    expect(errors).toEqual([new Error('broken listener')]);
  });

  it('brings the notices to every listener in order, also when one of them updates the mesh', () => {
    const mesh = empty();
    mesh.subscribe((notice) => {
      if (notice.generation === 1) mesh.update(set(pod('b')));
    });
    const heard: number[] = [];
    mesh.subscribe((notice) => heard.push(notice.generation));
    mesh.update(set(pod('a')));
    expect(heard).toEqual([1, 2]);
  });

  it('shows a listener the whole batch in force', () => {
    const mesh = empty();
    const seen: (string | undefined)[] = [];
    mesh.subscribe(() => seen.push(mesh.get('Pod', 'shop/b')?.name));
    mesh.update(set(pod('a'), pod('b')));
    expect(seen).toEqual(['b']);
  });

  it('stops for one and not for others, also from within a notice; the same function may listen twice', () => {
    const mesh = empty();
    let calls = 0;
    const listener = (): void => {
      calls += 1;
    };
    const stops: (() => void)[] = [];
    stops.push(mesh.subscribe(() => stops.forEach((stop) => stop())));
    mesh.subscribe(listener);
    stops.push(mesh.subscribe(listener));
    mesh.update(set(pod('a')));
    expect(calls).toBe(1);
    mesh.update(set(pod('b')));
    expect(calls).toBe(2);
  });
});

describe('pods', () => {
  it('are found by UID, address and service account, and no longer once they changed', () => {
    const mesh = empty();
    const first = pod('a', { ips: ['10.0.0.1', 'fd00::1'], serviceAccount: 'web' });
    mesh.update(set(first, pod('b', { ips: ['10.0.0.1'] })));
    expect(mesh.podByUid('uid-a')).toBe(first);
    expect(mesh.podsByIp('fd00::1')).toEqual([first]);
    expect(mesh.podsByIp('10.0.0.1').map((found) => found.name)).toEqual(['a', 'b']);
    expect(mesh.podsOfServiceAccount('shop', 'web')).toEqual([first]);
    const second = pod('a', { uid: 'uid-new', ips: ['10.0.0.2'], serviceAccount: 'cart' });
    mesh.update(set(second));
    expect(mesh.podByUid('uid-a')).toBeUndefined();
    expect(mesh.podByUid('uid-new')).toBe(second);
    expect(mesh.podsByIp('fd00::1')).toEqual([]);
    expect(mesh.podsByIp('10.0.0.2')).toEqual([second]);
    expect(mesh.podsOfServiceAccount('shop', 'web')).toEqual([]);
    expect(mesh.podsOfServiceAccount('shop', 'cart')).toEqual([second]);
  });

  it('are not found by a UID that two of them claim', () => {
    const mesh = empty();
    mesh.update(set(pod('a', { uid: 'twin' }), pod('b', { uid: 'twin' })));
    expect(mesh.podByUid('twin')).toBeUndefined();
    mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/b' }]);
    expect(mesh.podByUid('twin')?.name).toBe('a');
  });
});

describe('policies and workloads', () => {
  it('come ordered by namespace and name, the root namespace included', () => {
    const mesh = empty();
    mesh.update(
      set(
        policy('shop', 'b'),
        policy('root', 'z', { app: 'web' }),
        policy('shop', 'a', { app: 'web' }),
        policy('shop', 'other', { app: 'cart' }),
        policy('elsewhere', 'a'),
        pod('web-2', { labels: { app: 'web' } }),
        pod('web-1', { labels: { app: 'web', tier: 'front' } }),
        pod('web-0', { namespace: 'elsewhere', labels: { app: 'web' } }),
      ),
    );
    const found = mesh.policiesOf({ namespace: 'shop', labels: { app: 'web' } });
    expect(found.map(({ namespace, name }) => `${namespace}/${name}`)).toEqual([
      'root/z',
      'shop/a',
      'shop/b',
    ]);
    const workloads = (namespace: string, selector: Record<string, string>): string[] =>
      mesh.workloadsOf({ namespace, selector }).map(keyOf);
    expect(workloads('shop', { app: 'web' })).toEqual(['shop/web-1', 'shop/web-2']);
    expect(workloads('shop', {})).toEqual(['shop/web-1', 'shop/web-2']);
    expect(workloads('root', { app: 'web' })).toEqual(['elsewhere/web-0', 'shop/web-1', 'shop/web-2']);
    expect(workloads('shop', { app: 'web', tier: 'back' })).toEqual([]);
    expect(workloads('nowhere', {})).toEqual([]);
  });

  it('does not take an inherited property for a label', () => {
    const mesh = empty();
    mesh.update(set(policy('shop', 'a', { constructor: 'x' }), pod('p')));
    expect(mesh.policiesOf({ namespace: 'shop', labels: {} })).toEqual([]);
  });

  it('costs what is asked for, not what exists: candidates are counted', () => {
    const mesh = empty();
    const teams = 400;
    const objects = Array.from({ length: teams }, (_, team) => [
      policy('shop', `policy-${team}`, { team: `team-${team}`, env: 'prod' }),
      pod(`pod-${team}`, { labels: { team: `team-${team}`, env: 'prod' } }),
    ]).flat();
    mesh.update(set(...objects));
    const before = mesh.examined;
    expect(mesh.policiesOf({ namespace: 'shop', labels: { team: 'team-7', env: 'prod' } })).toHaveLength(1);
    // `env: prod` stands in every policy: its bucket is used for few of them, as a less crowded one was there.
    expect(mesh.examined - before).toBeLessThanOrEqual(3);
    const between = mesh.examined;
    expect(mesh.workloadsOf({ namespace: 'shop', selector: { env: 'prod', team: 'team-7' } })).toHaveLength(
      1,
    );
    expect(mesh.examined - between).toBe(1);
  });
});

describe('podsAffectedBy', () => {
  const web = pod('web', { labels: { app: 'web' } });
  const cart = pod('cart', { labels: { app: 'cart' } });
  const affected = (mesh: Mesh, updates: readonly MeshUpdate[]): string[] => {
    const notice = mesh.update(updates);
    return notice === undefined ? [] : [...mesh.podsAffectedBy(notice)].sort();
  };

  it('is the pods of a policy that was added, changed or removed, by its old and its new selector', () => {
    const mesh = empty();
    mesh.update(set(web, cart));
    expect(affected(mesh, set(policy('shop', 'p', { app: 'web' })))).toEqual(['shop/web']);
    expect(affected(mesh, set(policy('shop', 'p', { app: 'cart' })))).toEqual(['shop/cart', 'shop/web']);
    expect(affected(mesh, [{ op: 'delete', kind: 'AuthorizationPolicy', key: 'shop/p' }])).toEqual([
      'shop/cart',
    ]);
    expect(affected(mesh, set(policy('root', 'p')))).toEqual(['shop/cart', 'shop/web']);
    expect(affected(mesh, set(policy('elsewhere', 'p')))).toEqual([]);
  });

  it('covers every kind of policy, each for itself', () => {
    const mesh = empty();
    mesh.update(set(web, cart));
    const common = {
      apiGroup: 'security.countersign.dev',
      namespace: 'shop',
      name: 'p',
      digest: 'd',
    } as const;
    const tokens = { ...common, selector: { app: 'web' }, jwtRules: [] };
    const peers = {
      ...common,
      ...{ selector: { app: 'cart' }, mode: 'STRICT' as const, ports: new Map(), createdAtMs: undefined },
    };
    const { namespace, name } = common;
    expect(affected(mesh, set({ kind: 'RequestAuthentication', namespace, name, policy: tokens }))).toEqual([
      'shop/web',
    ]);
    expect(affected(mesh, set({ kind: 'PeerAuthentication', namespace, name, policy: peers }))).toEqual([
      'shop/cart',
    ]);
    expect(mesh.requestAuthenticationsOf(web)).toEqual([tokens]);
    expect(mesh.requestAuthenticationsOf(cart)).toEqual([]);
    expect(mesh.peerAuthenticationsOf(cart)).toEqual([peers]);
    expect(mesh.policiesOf(cart)).toEqual([]);
    expect(affected(mesh, [{ op: 'delete', kind: 'PeerAuthentication', key: 'shop/p' }])).toEqual([
      'shop/cart',
    ]);
    expect(mesh.peerAuthenticationsOf(cart)).toEqual([]);
    expect(mesh.requestAuthenticationsOf(web)).toEqual([tokens]);
  });

  it('is the pods with other labels, and those that are new; not those that changed otherwise or are gone', () => {
    const mesh = empty();
    expect(affected(mesh, set(web, cart))).toEqual(['shop/cart', 'shop/web']);
    expect(affected(mesh, set({ ...web, labels: { app: 'web', canary: 'yes' } }))).toEqual(['shop/web']);
    expect(affected(mesh, set({ ...cart, ips: ['10.0.0.9'] }, account))).toEqual([]);
    expect(affected(mesh, set({ ...cart, uid: 'made-anew' }))).toEqual(['shop/cart']);
    expect(affected(mesh, [{ op: 'delete', kind: 'Pod', key: 'shop/cart' }])).toEqual([]);
  });
});
