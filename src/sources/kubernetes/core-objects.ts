import { fieldsAt, isFields, textAt } from '../../kubernetes/index.ts';
import type { Fields } from '../../kubernetes/index.ts';
import { canonicalIp } from '../../mesh/index.ts';
import type { Labels, Namespace, Pod, Service, ServiceAccount, ServicePort } from '../../mesh/index.ts';

/**
 * Kubernetes' own objects, reduced to what the mesh knows. The API server has checked them: what is read here is not
 * checked for style, only for being there. Each throws `Unreadable` where an object cannot be what it says.
 */

/** An object that the API server would not have taken. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

const PHASES = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const;
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
/** Of annotations, only ours are looked at: kubectl's copy of the whole object is one too. */
const OUR_ANNOTATION = /^(?:[a-z0-9-]+\.)*countersign\.dev\//u;

export function readNamespace(object: Fields): Namespace {
  const metadata = fieldsAt(object, 'metadata');
  return { kind: 'Namespace', name: required(metadata, 'name'), labels: textsOf(metadata['labels']) };
}

export function readServiceAccount(object: Fields): ServiceAccount {
  const metadata = fieldsAt(object, 'metadata');
  return {
    kind: 'ServiceAccount',
    namespace: required(metadata, 'namespace'),
    name: required(metadata, 'name'),
    uid: required(metadata, 'uid'),
    annotations: ourAnnotations(metadata),
  };
}

export function readPod(object: Fields): Pod {
  const metadata = fieldsAt(object, 'metadata');
  const spec = fieldsAt(object, 'spec');
  const status = fieldsAt(object, 'status');
  const phase = textAt(status, 'phase') ?? 'Pending';
  return {
    kind: 'Pod',
    namespace: required(metadata, 'namespace'),
    name: required(metadata, 'name'),
    uid: required(metadata, 'uid'),
    labels: textsOf(metadata['labels']),
    annotations: ourAnnotations(metadata),
    serviceAccount: textAt(spec, 'serviceAccountName') ?? 'default',
    nodeName: textAt(spec, 'nodeName') ?? '',
    ips: podIps(status),
    phase: PHASES.find((known) => known === phase) ?? 'Unknown',
    terminating: textAt(metadata, 'deletionTimestamp') !== undefined,
  };
}

export function readService(object: Fields): Service {
  const metadata = fieldsAt(object, 'metadata');
  const spec = fieldsAt(object, 'spec');
  return {
    kind: 'Service',
    namespace: required(metadata, 'namespace'),
    name: required(metadata, 'name'),
    selector: textsOf(spec['selector']),
    ports: listOf(spec['ports']).flatMap(readPort),
  };
}

function readPort(item: Fields): readonly ServicePort[] {
  const { port, targetPort } = item;
  if (typeof port !== 'number') return [];
  return [
    {
      name: textAt(item, 'name') ?? '',
      port,
      targetPort: typeof targetPort === 'number' || typeof targetPort === 'string' ? targetPort : port,
      protocol: PROTOCOLS.find((known) => known === item['protocol']) ?? 'TCP',
      appProtocol: textAt(item, 'appProtocol') ?? '',
    },
  ];
}

function podIps(status: Fields): readonly string[] {
  const ips = new Set<string>();
  for (const text of [
    textAt(status, 'podIP'),
    ...listOf(status['podIPs']).map((item) => textAt(item, 'ip')),
  ]) {
    const ip = text === undefined ? undefined : canonicalIp(text);
    if (ip !== undefined) ips.add(ip);
  }
  return [...ips];
}

function required(metadata: Fields, name: 'name' | 'namespace' | 'uid'): string {
  const text = textAt(metadata, name);
  if (text === undefined) throw new Unreadable(`metadata.${name} is missing`);
  return text;
}

function ourAnnotations(metadata: Fields): Labels {
  const all = Object.entries(textsOf(metadata['annotations']));
  return Object.fromEntries(all.filter(([name]) => OUR_ANNOTATION.test(name)));
}

function textsOf(value: unknown): Labels {
  const texts = Object.entries(isFields(value) ? value : {});
  return Object.fromEntries(texts.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : [];
}
