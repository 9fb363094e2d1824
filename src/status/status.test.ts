import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { StreamStatus } from '../discovery/index.ts';
import {
  conditionsOf,
  packReport,
  progressOf,
  proxyStates,
  summarize,
  unpackReport,
  type BundleReport,
  type Condition,
  type ProxyState,
  type Report,
  type ReportEntry,
  type Standing,
  type SvidReport,
} from './index.ts';

const TYPE = 'type.googleapis.com/x';

interface Held {
  readonly version: string;
  readonly running?: string;
  readonly rejection?: string;
}

function stream(client: string, held: Readonly<Record<string, Held | undefined>>): StreamStatus {
  return {
    streamId: 1,
    client,
    method: 'ads',
    nodeId: '',
    openedAtMs: 0,
    endsAtMs: 1,
    types: [
      {
        typeUrl: TYPE,
        wildcard: false,
        names: Object.keys(held),
        resources: Object.entries(held).flatMap(([name, resource]) =>
          resource === undefined
            ? []
            : [
                {
                  name,
                  version: resource.version,
                  running: resource.running,
                  acknowledged: resource.running === resource.version,
                  rejection: resource.rejection,
                },
              ],
        ),
        state: 'quiet',
        nonce: '',
        waitingSinceMs: undefined,
        rejection: undefined,
      },
    ],
  };
}

describe('proxyStates', () => {
  const wantsV2 = (): string => 'v2';

  it('is current only where the proxy runs what it should run now', () => {
    const states = proxyStates(
      [
        stream('a', { deny: { version: 'v2', running: 'v2' } }),
        stream('b', { deny: { version: 'v2', running: 'v1' } }),
        // Acknowledged all that it was sent; the change has not been sent yet.
        stream('c', { deny: { version: 'v1', running: 'v1' } }),
        stream('d', { deny: undefined }),
      ],
      TYPE,
      wantsV2,
    );
    const kinds = [...states].map(([client, { kind }]) => `${client} ${kind}`);
    expect(kinds).toEqual(['a current', 'b behind', 'c behind', 'd behind']);
  });

  it('tells a refusal of the present version from one of an earlier', () => {
    const states = proxyStates(
      [
        stream('a', { deny: { version: 'v2', running: 'v1', rejection: 'no cluster' } }),
        stream('b', { deny: { version: 'v1', running: 'v0', rejection: 'no cluster' } }),
      ],
      TYPE,
      wantsV2,
    );
    expect(states.get('a')).toEqual({ kind: 'rejected', message: 'no cluster' });
    expect(states.get('b')).toEqual({ kind: 'behind' });
  });

  it('takes the worst of all streams and names of one proxy', () => {
    const states = proxyStates(
      [
        stream('a', { deny: { version: 'v2', running: 'v2' }, allow: { version: 'v1', running: 'v1' } }),
        stream('a', { deny: { version: 'v2', running: 'v2' } }),
      ],
      TYPE,
      wantsV2,
    );
    expect(states.get('a')?.kind).toBe('behind');
  });

  it('leaves out who asked for nothing of the type, or only for what cannot be had', () => {
    expect(proxyStates([stream('a', {}), stream('b', { x: undefined })], TYPE, () => undefined).size).toBe(0);
  });
});

describe('progressOf', () => {
  it('counts the proxies of the selected workloads', () => {
    const states = new Map<string, ProxyState>([
      ['a', { kind: 'current' }],
      ['b', { kind: 'behind' }],
      ['c', { kind: 'rejected', message: 'why' }],
      ['other', { kind: 'behind' }],
    ]);
    expect(progressOf(['a', 'b', 'c', 'bare'], states)).toEqual({
      proxies: 3,
      current: 1,
      rejected: { proxy: 'c', message: 'why' },
    });
  });
});

function entry(generation: number, proxies: number, current: number, uid = 'u'): ReportEntry {
  return { uid, generation, progress: { proxies, current } };
}

const bundle: BundleReport = {
  sequence: 3,
  proxies: 2,
  current: 1,
  lagging: ['shop/cart has not acknowledged the bundle yet'],
  unawareUntilMs: 0,
};
const svids: SvidReport = {
  signing: 'ab12',
  proxies: 2,
  current: 1,
  lagging: ['shop/cart holds an SVID of the former root'],
};

describe('summarize', () => {
  const reports = (one: ReportEntry | undefined): ReadonlyMap<string, Report> =>
    new Map([
      ['r0', { bundle, svids, policies: new Map([['P', entry(2, 6, 6)]]) }],
      ['r1', { bundle, svids, policies: new Map(one && [['P', one]]) }],
    ]);

  it.each([
    ['all current', entry(2, 6, 6), 12, 12, []],
    ['a replica that has not seen the policy', undefined, 6, 6, ['r1']],
    ['a replica at an earlier generation: its proxies run that', entry(1, 6, 6), 12, 6, ['r1']],
    ['a replica that knows another object of that name', entry(9, 6, 6, 'old'), 12, 6, ['r1']],
    ['a replica that is ahead', entry(3, 6, 5), 12, 11, []],
  ])('%s', (_what, one, proxies, current, unseenBy) => {
    expect(summarize('P', { uid: 'u', generation: 2 }, reports(one))).toEqual({
      progress: { proxies, current },
      unseenBy,
    });
  });
});

function pack(policies: readonly unknown[], about: object = {}): Buffer {
  return gzipSync(JSON.stringify({ bundle, svids, policies, ...about }));
}

describe('reports', () => {
  it('come back as they were', () => {
    const policies = new Map<string, ReportEntry>([
      ['AuthorizationPolicy own shop/a', entry(3, 2, 1)],
      [
        'AuthorizationPolicy own shop/b',
        {
          uid: 'u2',
          generation: 1,
          progress: { proxies: 1, current: 0, rejected: { proxy: 'x', message: 'y' } },
        },
      ],
    ]);
    const report = { bundle, svids: { ...svids, canSign: ['ab12', 'cd34'] }, policies };
    expect(unpackReport(packReport(report))).toEqual(report);
  });

  it('of an earlier release come back without what it did not say', () => {
    expect(unpackReport(pack([])).svids).toStrictEqual(svids);
  });

  it('of 5,000 policies fit into an object of the API server', () => {
    const policies = new Map<string, ReportEntry>();
    for (let index = 0; index < 5_000; index += 1) {
      const uid = `0b7c9a1e-${index.toString(16).padStart(4, '0')}-4c1f-9d6b-${(index * 7_919_777).toString(16).padStart(12, '0')}`;
      policies.set(`AuthorizationPolicy own namespace-${index % 100}/policy-${index}`, entry(1, 12, 12, uid));
    }
    expect(packReport({ bundle, svids, policies }).length).toBeLessThan(400_000);
  });

  it.each([
    ['no gzip', Buffer.from('hello')],
    ['no list', gzipSync('{}')],
    ['a row without a name', pack([[1, 2]])],
    ['a count that is none', pack([['a', 'b', -1, 0, 0]])],
    ['a bundle that says nothing', pack([], { bundle: {} })],
    ['SVIDs of no root', pack([], { svids: { ...svids, signing: undefined } })],
    ['roots that are no list', pack([], { svids: { ...svids, canSign: 'ab12' } })],
    ['SVIDs of nobody', pack([], { svids: { signing: 'ab12' } })],
  ])('are refused whole: %s', (_what, packed) => {
    expect(() => unpackReport(packed)).toThrow();
  });

  it('are not unpacked beyond their bound', () => {
    expect(() => unpackReport(gzipSync(`["${'x'.repeat(20_000_000)}"]`))).toThrow();
  });
});

describe('conditionsOf', () => {
  const standing: Standing = {
    generation: 4,
    issues: [],
    lastGood: false,
    progress: { proxies: 12, current: 12 },
    unseenBy: [],
    silent: [],
    awaited: [],
  };
  const error = { severity: 'error', path: 'spec.rules[0]', message: 'wrong' } as const;
  const texts = (change: Partial<Standing>): string[] =>
    conditionsOf({ ...standing, ...change }, [], 0).map(
      ({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`,
    );

  it('says where a policy is enforced', () => {
    expect(texts({})).toEqual([
      'Accepted=True Valid: in force',
      'Programmed=True Acknowledged: 12/12 proxies',
    ]);
    expect(texts({ progress: { proxies: 12, current: 3 } })[1]).toBe(
      'Programmed=False Pending: 3/12 proxies',
    );
    expect(texts({ progress: { proxies: 0, current: 0 } })[1]).toBe(
      'Programmed=True NoProxies: 0/0 proxies: no connected Envoy needs it',
    );
    expect(texts({ unseenBy: ['r1'] })[1]).toBe(
      'Programmed=False Pending: 12/12 proxies; not yet seen by r1',
    );
    const silent = ['replica b does not report', 'replica c does not report'];
    expect(texts({ silent })[1]).toBe(
      'Programmed=Unknown ReplicaSilent: 12/12 proxies that are known of; replica b does not report; replica c does not report',
    );
    expect(texts({ silent, progress: { proxies: 12, current: 3 } })[1]).toMatch(/^Programmed=False Pending/u);
    const rejected = { proxy: 'shop/cart-0', message: 'no cluster' };
    expect(texts({ progress: { proxies: 12, current: 11, rejected } })[1]).toBe(
      'Programmed=False Rejected: 11/12 proxies; shop/cart-0 refused it: no cluster',
    );
  });

  it('says of nothing new that it is enforced before every replica has spoken, and takes nothing back', () => {
    const awaited = ['replica b has not reported yet'];
    const none = { proxies: 0, current: 0 };
    expect(texts({ awaited, progress: none })[1]).toBe(
      'Programmed=False Pending: 0/0 proxies that are known of; replica b has not reported yet',
    );
    const before = conditionsOf(standing, [], 0);
    expect(conditionsOf({ ...standing, awaited }, before, 5_000)).toEqual(before);
    const next = conditionsOf({ ...standing, awaited, generation: 5 }, before, 5_000);
    expect(next.find(({ type }) => type === 'Programmed')).toMatchObject({
      status: 'False',
      reason: 'Pending',
    });
  });

  it('says what is wrong with one that is refused, and what holds instead', () => {
    expect(texts({ issues: [error] })).toEqual([
      'Accepted=False Invalid: nothing of it is in force; spec.rules[0]: wrong',
      'Programmed=False Invalid: this generation is not sent to any proxy',
    ]);
    expect(texts({ issues: [error], lastGood: true })[0]).toContain(
      'the last good generation stays in force',
    );
  });

  it('passes warnings on, as long as there are any', () => {
    const warning = { severity: 'warning', path: 'spec', message: 'hardly meant' } as const;
    expect(texts({ issues: [warning] })[2]).toBe('Warning=True Suspicious: spec: hardly meant');
    expect(texts({})).toHaveLength(2);
  });

  it('keeps the time of the last transition, and changes nothing where nothing changed', () => {
    const first = conditionsOf(standing, [], 1_000);
    expect(first[0]?.lastTransitionTime).toBe('1970-01-01T00:00:01Z');
    expect(conditionsOf(standing, first, 9_000)).toEqual(first);
    const behind = { ...standing, progress: { proxies: 12, current: 3 } };
    const second: readonly Condition[] = conditionsOf(behind, first, 9_000);
    expect(second.map(({ lastTransitionTime }) => lastTransitionTime)).toEqual([
      '1970-01-01T00:00:01Z',
      '1970-01-01T00:00:09Z',
    ]);
  });

  it('cuts what would not fit', () => {
    const long = { ...error, message: 'x'.repeat(99_999) };
    expect(conditionsOf({ ...standing, issues: [long] }, [], 0)[0]?.message.length).toBe(1_024);
  });
});
