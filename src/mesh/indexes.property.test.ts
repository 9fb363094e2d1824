import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyOf, Mesh } from './index.ts';
import type { MeshUpdate, Pod, PolicyObject, PolicySelector, PolicySubject } from './index.ts';

/** The indexes against a scan of everything, after any sequence of batches. */

const ROOT = 'root';
const namespaces = fc.constantFrom('a', 'b', ROOT);
const names = fc.constantFrom('x', 'y', 'z');
const labels = fc.dictionary(fc.constantFrom('k', 'l', 'm'), fc.constantFrom('1', '2'), { maxKeys: 3 });

const pods: fc.Arbitrary<Pod> = fc
  .record({ namespace: namespaces, name: names, labels })
  .map(({ namespace, name, labels: own }) => ({
    namespace,
    name,
    labels: own,
    kind: 'Pod',
    uid: `${namespace}-${name}`,
    annotations: {},
    serviceAccount: 'default',
    nodeName: 'n',
    ips: [],
    phase: 'Running',
    terminating: false,
  }));

const policies: fc.Arbitrary<PolicyObject> = fc
  .record({ namespace: namespaces, name: names, selector: labels, digest: fc.constantFrom('d1', 'd2') })
  .map(({ namespace, name, selector, digest }) => ({
    kind: 'AuthorizationPolicy',
    namespace,
    name,
    policy: {
      apiGroup: 'security.countersign.dev',
      namespace,
      name,
      selector,
      action: 'DENY',
      mode: 'Enforce',
      reason: undefined,
      rules: [],
      digest,
    },
  }));

const updates: fc.Arbitrary<MeshUpdate> = fc.oneof(
  pods.map((object): MeshUpdate => ({ op: 'set', object })),
  policies.map((object): MeshUpdate => ({ op: 'set', object })),
  fc
    .record({ kind: fc.constantFrom('Pod', 'AuthorizationPolicy'), namespace: namespaces, name: names })
    .map(({ kind, namespace, name }): MeshUpdate => ({ op: 'delete', kind, key: `${namespace}/${name}` })),
);

const batches = fc.array(fc.array(updates, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 8 });

function selects(policy: PolicySelector, subject: PolicySubject): boolean {
  if (policy.namespace !== ROOT && policy.namespace !== subject.namespace) return false;
  return Object.entries(policy.selector).every(([key, value]) => subject.labels[key] === value);
}

/** What each pod's policies are, by a scan. */
function scan(mesh: Mesh): Map<string, string> {
  const all = mesh.list('AuthorizationPolicy').map(({ policy }) => policy);
  return new Map(
    mesh.list('Pod').map((pod) => {
      const own = all.filter((policy) => selects(policy, pod));
      return [
        keyOf(pod),
        JSON.stringify(own.map(({ namespace, name, digest }) => `${namespace}/${name}@${digest}`).sort()),
      ];
    }),
  );
}

describe('indexes', () => {
  it('answer as a scan would, in both directions', () => {
    fc.assert(
      fc.property(batches, (sequence) => {
        const mesh = new Mesh({ rootNamespace: ROOT });
        for (const batch of sequence) mesh.update(batch);
        const allPods = mesh.list('Pod');
        const allPolicies = mesh.list('AuthorizationPolicy').map(({ policy }) => policy);
        for (const pod of allPods) {
          const expected = allPolicies.filter((policy) => selects(policy, pod));
          expect(new Set(mesh.policiesOf(pod))).toEqual(new Set(expected));
          expect(mesh.policiesOf(pod)).toHaveLength(expected.length);
        }
        for (const policy of allPolicies) {
          const expected = allPods.filter((pod) => selects(policy, pod));
          expect(mesh.workloadsOf(policy).map(keyOf)).toEqual(expected.map(keyOf).sort());
        }
      }),
      { numRuns: 300 },
    );
  });

  it('miss no pod whose policies a batch changed', () => {
    fc.assert(
      fc.property(batches, (sequence) => {
        const mesh = new Mesh({ rootNamespace: ROOT });
        for (const batch of sequence) {
          const before = scan(mesh);
          const notice = mesh.update(batch);
          const affected = notice === undefined ? new Set<string>() : mesh.podsAffectedBy(notice);
          for (const [key, policiesNow] of scan(mesh)) {
            if (before.get(key) !== policiesNow) expect([...affected]).toContain(key);
          }
          for (const key of affected) expect(mesh.get('Pod', key)).toBeDefined();
        }
      }),
      { numRuns: 300 },
    );
  });
});
