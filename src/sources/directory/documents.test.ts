import { describe, expect, it } from 'vitest';
import { readManifests } from '../manifests/index.ts';
import { readDocument } from './documents.ts';
import type { ReadDocument } from './documents.ts';

function read(text: string): ReadDocument {
  const [manifest] = readManifests(text, 'file.yaml').documents;
  if (manifest === undefined) throw new Error('no document');
  return readDocument(manifest, {});
}

/** Each problem as `line field: message`. */
function problemsOf(text: string): string[] {
  return read(text).problems.map(({ line, field, message }) => `${line} ${field}: ${message}`);
}

const pod = (metadata: string, more = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  ${metadata}\n${more}`;

describe('readDocument', () => {
  it.each([
    [pod('labels: {}'), '3 metadata.name: is missing; it is required'],
    [pod('name: ""'), '4 metadata.name: is missing; it is required'],
    [pod('name: Web_1'), '4 metadata.name: "Web_1" must be a DNS name'],
    [pod('name: 7'), '4 metadata.name: expected a text, found a number; put it in quotes'],
    [pod('{name: a, namespace: a.b}'), '4 metadata.namespace: "a.b" must be a DNS label'],
    [pod('{name: a, uid: "a b"}'), '4 metadata.uid: "a b" must be 1 to 128'],
    [pod('name: a\n  labels:\n    version: 1'), '6 metadata.labels.version: expected a text, found a number'],
    [pod('name: a\n  labels:\n    "a b": x'), '6 metadata.labels["a b"]: "a b" is no label key'],
    [pod('name: a\n  labels: {a: "x y"}'), '5 metadata.labels.a: "x y" is no label value'],
    [pod('name: a\n  labels: [a]'), '5 metadata.labels: expected a mapping, found a list'],
    [pod('name: a', 'spec:\n  serviceAccountName: A'), '6 spec.serviceAccountName: "A" must be a DNS name'],
    [pod('name: a', 'spec: text'), '5 spec: expected a mapping, found a string'],
    [
      pod('name: a', 'status:\n  podIPs:\n  - ip: 10.0.0.1\n  - ip: 010.0.0.1'),
      '8 status.podIPs[1].ip: "010.0.0.1" is no IP',
    ],
    [pod('name: a', 'status: {podIP: "fe80::1%eth0"}'), '5 status.podIP: "fe80::1%eth0" is no IP'],
    [
      'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - name: http\n  - port: 70000\n  - {port: 80, protocol: SPX}',
      '6 spec.ports[0].port: is missing; it is required',
    ],
    ['apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}', '3 metadata.name: "a.b" must be a DNS label'],
    ['kind: Pod\nmetadata: {name: a}', '1 apiVersion: is missing'],
    ['apiVersion: v1\nmetadata: {name: a}', '1 kind: is missing'],
    [
      'apiVersion: v2\nkind: Pod\nmetadata: {name: a}',
      '2 kind: Pod (v2) has no effect: Pod is read with apiVersion v1',
    ],
  ])('finds the fault and says where it is (%#)', (text, expected) => {
    expect(problemsOf(text)[0]).toContain(expected);
  });

  it('finds all faults of a document at once', () => {
    expect(problemsOf(pod('{name: A, namespace: B}', 'status: {phase: x, podIP: y}'))).toHaveLength(4);
  });

  it('knows which object is meant, though its document is bad', () => {
    expect(read(pod('{name: a, namespace: shop}', 'status: {phase: x}'))).toMatchObject({
      kind: 'bad',
      id: { kind: 'Pod', key: 'shop/a' },
    });
    expect(
      read(
        'apiVersion: security.countersign.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {nonsense: 1}',
      ),
    ).toMatchObject({
      kind: 'bad',
      id: { kind: 'AuthorizationPolicy', key: 'default/p' },
    });
  });

  it('takes `null` for absent, as Kubernetes does', () => {
    expect(read(pod('name: a\n  labels:\n  namespace:', 'spec:\nstatus:\n  podIP:'))).toMatchObject({
      kind: 'good',
      object: { namespace: 'default', labels: {}, ips: [] },
    });
  });

  it('does not take inherited names for fields or kinds', () => {
    expect(read('apiVersion: v1\nkind: constructor\nmetadata: {name: a}').kind).toBe('ignored');
    expect(read(pod('name: a\n  labels: {constructor: x}'))).toMatchObject({
      object: { labels: { constructor: 'x' } },
    });
  });
});
