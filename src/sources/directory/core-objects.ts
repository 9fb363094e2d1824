import { canonicalIp } from '../../mesh/index.ts';
import type { Namespace, Pod, Service, ServiceAccount, ServicePort } from '../../mesh/index.ts';
import { shown } from './fields.ts';
import type { Fields } from './fields.ts';
import { dnsLabelFault, dnsSubdomainFault, labelKeyFault, labelValueFault, uidFault } from './names.ts';

/** Kubernetes' own objects, reduced to what the mesh knows. What they leave unsaid is filled in as the API server would. */

const PHASES = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const;
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;

export const DEFAULT_NAMESPACE = 'default';
/** The node of pods that name none: there is one machine where there is no scheduler. */
export const STANDALONE_NODE = 'standalone';

export function parseNamespace(document: Fields): Namespace {
  const metadata = document.at('metadata').mapping();
  return {
    kind: 'Namespace',
    name: metadata.at('name').requiredText(dnsLabelFault),
    labels: metadata.at('labels').texts(labelKeyFault, labelValueFault),
  };
}

/** `uid` is empty where the manifest has none. */
export function parseServiceAccount(document: Fields): ServiceAccount {
  const metadata = document.at('metadata').mapping();
  return {
    kind: 'ServiceAccount',
    ...namespacedName(metadata, dnsSubdomainFault),
    uid: metadata.at('uid').text(uidFault) ?? '',
    annotations: metadata.at('annotations').texts(labelKeyFault),
  };
}

/** `uid` is empty where the manifest has none. */
export function parsePod(document: Fields): Pod {
  const metadata = document.at('metadata').mapping();
  const spec = document.at('spec').mapping();
  const status = document.at('status').mapping();
  return {
    kind: 'Pod',
    ...namespacedName(metadata, dnsSubdomainFault),
    uid: metadata.at('uid').text(uidFault) ?? '',
    labels: metadata.at('labels').texts(labelKeyFault, labelValueFault),
    annotations: metadata.at('annotations').texts(labelKeyFault),
    serviceAccount:
      firstText(dnsSubdomainFault, spec.at('serviceAccountName'), spec.at('serviceAccount')) ?? 'default',
    nodeName: firstText(dnsSubdomainFault, spec.at('nodeName')) ?? STANDALONE_NODE,
    ips: podIps(status),
    phase: status.at('phase').oneOf(PHASES, 'Running'),
    terminating: !metadata.at('deletionTimestamp').absent,
  };
}

export function parseService(document: Fields): Service {
  const spec = document.at('spec').mapping();
  return {
    kind: 'Service',
    ...namespacedName(document.at('metadata').mapping(), dnsLabelFault),
    selector: spec.at('selector').texts(labelKeyFault, labelValueFault),
    ports: spec.at('ports').items().map(servicePort),
  };
}

function namespacedName(
  metadata: Fields,
  rule: (text: string) => string | undefined,
): { namespace: string; name: string } {
  return {
    namespace: firstText(dnsLabelFault, metadata.at('namespace')) ?? DEFAULT_NAMESPACE,
    name: metadata.at('name').requiredText(rule),
  };
}

/** The first that says something: for Kubernetes, the empty text says nothing. */
function firstText(
  rule: (text: string) => string | undefined,
  ...fields: readonly Fields[]
): string | undefined {
  return fields.map((field) => field.text(rule)).find((text) => text !== undefined && text !== '');
}

function podIps(status: Fields): readonly string[] {
  const fields = [
    status.at('podIP'),
    ...status
      .at('podIPs')
      .items()
      .map((item) => item.mapping().at('ip')),
  ];
  const ips = new Set<string>();
  for (const field of fields) {
    const text = field.text();
    if (text === undefined || text === '') continue;
    const ip = text.includes('%') ? undefined : canonicalIp(text);
    if (ip === undefined) field.fault(`${shown(text)} is no IP address; 10.0.0.7 and fd00::7 are`);
    else ips.add(ip);
  }
  return [...ips];
}

function servicePort(item: Fields): ServicePort {
  item.mapping();
  const port = item.at('port');
  if (port.absent) port.fault('is missing; it is required');
  const number = port.port() ?? 0;
  const target = item.at('targetPort');
  const targetPort = typeof target.value === 'string' ? target.text(dnsLabelFault) : target.port();
  return {
    name: item.at('name').text(dnsLabelFault) ?? '',
    port: number,
    targetPort: targetPort ?? number,
    protocol: item.at('protocol').oneOf(PROTOCOLS, 'TCP'),
    appProtocol: item.at('appProtocol').text() ?? '',
  };
}
