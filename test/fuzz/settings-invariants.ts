import type { MeshSettings, PolicyCase } from '../../src/policy/index.ts';
import { demand, knows, list, mapping } from './reading.ts';

const MESH = [
  ...['trustDomain', 'trustDomainAliases', 'rootNamespace', 'defaultAction', 'extensionProviders'],
  'federation',
];
const FEDERATED = ['trustDomain', 'bundleEndpointURL', 'bundleEndpointProfile', 'trustDomainBundle'];
const AUTHORIZER = [
  ...['service', 'port', 'timeout', 'failOpen', 'statusOnError', 'includeRequestBodyInCheck', 'pathPrefix'],
  ...['includeRequestHeadersInCheck', 'includeAdditionalHeadersInCheck', 'headersToUpstreamOnAllow'],
  ...['headersToDownstreamOnDeny', 'headersToDownstreamOnAllow'],
];
const CASE = [
  ...['name', 'from', 'to', 'labels', 'expect', 'by', 'protocol', 'method', 'path', 'host', 'headers'],
  ...['sourceIp', 'remoteIp', 'destinationIp', 'sni', 'claims', 'filterMetadata', 'authorizerSays', 'at'],
  'port',
];

/** A mesh's configuration that was taken says what is written, and is open in no other place. */
export function checkMesh(value: unknown, settings: Partial<MeshSettings>): void {
  knows(value, MESH);
  const written = mapping(value);
  for (const field of ['trustDomain', 'rootNamespace', 'defaultAction'] as const)
    demand(settings[field] === written[field], `${field} other than written`);
  const { trustDomainAliases = [], authorizers = [], federation = [] } = settings;
  demand(
    JSON.stringify(trustDomainAliases) === JSON.stringify(list(written['trustDomainAliases'])),
    'trustDomainAliases other than written',
  );
  const federated = list(written['federation']).map(mapping);
  demand(federated.length === federation.length, 'a trust domain more or less than written');
  for (const [index, { trustDomain, url, profile }] of federation.entries()) {
    const fields = federated[index] ?? {};
    knows(fields, FEDERATED);
    demand(trustDomain === fields['trustDomain'], 'a trust domain of another name');
    demand(/^https:\/\/[^@/]+\//u.test(url), 'a bundle comes from an unproven place');
    const proof = mapping(fields['bundleEndpointProfile']);
    demand(profile.type === proof['type'], 'an endpoint proves itself otherwise than written');
  }
  const providers = list(written['extensionProviders']).map(mapping);
  demand(authorizers.length === providers.length, 'an authorizer more or less than written');
  for (const [index, provider] of providers.entries()) {
    const read = authorizers[index];
    knows(provider, ['name', 'envoyExtAuthzGrpc', 'envoyExtAuthzHttp']);
    const fields = mapping(provider['envoyExtAuthzGrpc'] ?? provider['envoyExtAuthzHttp']);
    knows(fields, AUTHORIZER);
    demand(read !== undefined && read.name === provider['name'], 'an authorizer of another name');
    demand(read.failOpen === (fields['failOpen'] === true), `${read.name} fails open otherwise than written`);
    demand(read.port === fields['port'], `${read.name} is asked at another port`);
    demand(String(fields['service']).endsWith(read.host) && read.host !== '', `${read.name} is another host`);
    demand(read.statusOnError === Number(fields['statusOnError'] ?? 403), `${read.name} answers otherwise`);
  }
}

/** A document of expectations that was taken expects all that is written. */
export function checkCases(value: unknown, cases: readonly PolicyCase[]): void {
  knows(value, ['cases']);
  const entries = list(mapping(value)['cases']).map(mapping);
  const byPath = Map.groupBy(cases, ({ path }) => path);
  for (const [index, entry] of entries.entries()) {
    knows(entry, CASE);
    const path = `cases[${index}]`;
    const own = byPath.get(path) ?? [];
    const wanted = ['from', 'to', 'method', 'path'].reduce((product, field) => {
      const written = entry[field];
      return product * (Array.isArray(written) ? written.length : 1);
    }, 1);
    demand(own.length === wanted, `${own.length} cases of ${wanted}`);
    for (const { expect, by, namespace, pod, request } of own) {
      demand(expect.toLowerCase() === entry['expect'], 'expects otherwise than written');
      demand(by === entry['by'], 'decided by another than written');
      demand(texts(entry['to']).includes(`${namespace}/${pod}`), 'asks another pod');
      demand(texts(entry['method'] ?? 'GET').includes(request.method), 'asks by another method');
      demand(texts(entry['path'] ?? '/').includes(request.path), 'asks for another path');
      demand(
        request.principal !== undefined || texts(entry['from'] ?? 'nobody').includes('nobody'),
        'nobody asks',
      );
      demand(
        Object.keys(request.headers).length === Object.keys(mapping(entry['headers'])).length ||
          hasTwins(entry['headers']),
        'headers are lost',
      );
      demand(request.destinationPort === entry['port'], 'asks at another port');
    }
  }
}

/** Names that differ in their case alone are one header. */
function hasTwins(headers: unknown): boolean {
  const names = Object.keys(mapping(headers));
  return new Set(names.map((name) => name.toLowerCase())).size < names.length;
}

function texts(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}
