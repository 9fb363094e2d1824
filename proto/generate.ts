/**
 * Writes protobufjs descriptors: `gen/envoy.json`, what the gRPC port speaks (a part of Envoy's schema, and Istio's
 * call for a certificate), and `gen/operator.json`, its own API. Envoy's schema comes from a development dependency (docs/decisions/0002);
 * nothing of it is copied into this repository.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import protobuf from 'protobufjs';

const inputs = [
  'envoy/service/discovery/v3/ads.proto',
  'envoy/service/discovery/v3/discovery.proto',
  'envoy/service/secret/v3/sds.proto',
  'envoy/service/extension/v3/config_discovery.proto',
  'envoy/config/core/v3/extension.proto',
  'envoy/extensions/transport_sockets/tls/v3/secret.proto',
  'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto',
  'envoy/extensions/filters/http/rbac/v3/rbac.proto',
  'envoy/extensions/filters/network/rbac/v3/rbac.proto',
  'envoy/extensions/path/match/uri_template/v3/uri_template_match.proto',
  'envoy/extensions/filters/http/ext_authz/v3/ext_authz.proto',
  'envoy/extensions/filters/network/ext_authz/v3/ext_authz.proto',
  'envoy/extensions/filters/http/jwt_authn/v3/config.proto',
  new URL('istio/v1/auth/ca.proto', import.meta.url).pathname,
];

/** Everything reachable from these stays. */
const wanted = [
  'envoy.service.discovery.v3.AggregatedDiscoveryService',
  'envoy.service.secret.v3.SecretDiscoveryService',
  'envoy.service.extension.v3.ExtensionConfigDiscoveryService',
  'envoy.config.core.v3.TypedExtensionConfig',
  'envoy.extensions.transport_sockets.tls.v3.Secret',
  'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
  'envoy.extensions.filters.http.rbac.v3.RBAC',
  'envoy.extensions.filters.network.rbac.v3.RBAC',
  'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
  'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
  'istio.v1.auth.IstioCertificateService',
];

type Json = Record<string, unknown>;

function loadAll(): protobuf.Root {
  const packageDir = (name: string): string =>
    dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  const deps = join(packageDir('@grpc/grpc-js-xds'), 'deps');
  const includes = ['envoy-api', 'googleapis', 'xds', 'protoc-gen-validate'].map((dir) => join(deps, dir));
  includes.push(packageDir('protobufjs'));
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target): string | null => {
    if (target.startsWith('/')) return target;
    if (protobuf.common.get(target)) return target;
    for (const dir of includes) {
      const path = join(dir, target);
      if (existsSync(path)) return path;
    }
    throw new Error(`${target} is in none of ${includes.join(', ')}: run npm install`);
  };
  root.loadSync(inputs, { keepCase: true });
  return root;
}

/** Per-resource errors: newer than the dependency, with the numbers of Envoy's published discovery.proto. */
function addResourceErrors(root: protobuf.Root): void {
  const home = root.lookup('envoy.service.discovery.v3');
  if (!(home instanceof protobuf.Namespace)) throw new Error('envoy.service.discovery.v3 is missing');
  const error = new protobuf.Type('ResourceError')
    .add(new protobuf.Field('resource_name', 1, 'ResourceName'))
    .add(new protobuf.Field('error_detail', 2, 'google.rpc.Status'));
  home.add(error);
  for (const [response, number] of [
    ['DiscoveryResponse', 7],
    ['DeltaDiscoveryResponse', 9],
  ] as const) {
    home.lookupType(response).add(new protobuf.Field('resource_errors', number, 'ResourceError', 'repeated'));
  }
}

/** What RBAC reads metadata by, now that its `metadata` is deprecated; numbers of Envoy's published rbac.proto. */
function addSourcedMetadata(root: protobuf.Root): void {
  const home = root.lookup('envoy.config.rbac.v3');
  if (!(home instanceof protobuf.Namespace)) throw new Error('envoy.config.rbac.v3 is missing');
  home.add(
    new protobuf.Type('SourcedMetadata').add(
      new protobuf.Field('metadata_matcher', 1, 'envoy.type.matcher.v3.MetadataMatcher'),
    ),
  );
  for (const [type, oneof, number] of [
    ['Permission', 'rule', 14],
    ['Principal', 'identifier', 13],
  ] as const) {
    home.lookupType(type).add(new protobuf.Field('sourced_metadata', number, 'SourcedMetadata'));
    home.lookupType(type).oneofs[oneof]?.oneof.push('sourced_metadata');
  }
}

/** Full names of every type, enum and service that the wanted ones need. */
function closure(root: protobuf.Root): Set<string> {
  const reached = new Set<string>();
  const visit = (object: protobuf.ReflectionObject | null): void => {
    if (object === null || reached.has(object.fullName)) return;
    reached.add(object.fullName);
    if (object instanceof protobuf.Service) {
      for (const method of object.methodsArray) {
        method.resolve();
        visit(method.resolvedRequestType);
        visit(method.resolvedResponseType);
      }
    }
    if (object instanceof protobuf.Type) {
      for (const field of object.fieldsArray) visit(field.resolve().resolvedType);
    }
  };
  for (const name of wanted) {
    const found = root.lookup(name);
    if (found === null) throw new Error(`${name} is not in the schema`);
    visit(found);
  }
  return reached;
}

/** The descriptor without what was not reached, and without options that no reader of ours uses. */
function prune(json: Json, name: string, reached: ReadonlySet<string>): Json | undefined {
  const nested: Json = {};
  for (const [key, child] of Object.entries((json['nested'] ?? {}) as Record<string, Json>)) {
    const kept = prune(child, `${name}.${key}`, reached);
    if (kept !== undefined) nested[key] = kept;
  }
  const hasNested = Object.keys(nested).length > 0;
  const keep = reached.has(name);
  if (!keep && !hasNested) return undefined;
  const own: Json = {};
  if (keep) {
    for (const part of ['fields', 'oneofs', 'values', 'methods'] as const) {
      if (json[part] !== undefined) own[part] = withoutOptions(json[part] as Record<string, Json>, part);
    }
  }
  return hasNested ? { ...own, nested } : own;
}

function withoutOptions(members: Record<string, Json>, part: string): Json {
  if (part === 'values') return members;
  return Object.fromEntries(
    Object.entries(members).map(([key, member]) => {
      const { options, ...rest } = member;
      const proto3Optional = (options as Json | undefined)?.['proto3_optional'];
      return [key, proto3Optional === true ? { ...rest, options: { proto3_optional: true } } : rest];
    }),
  );
}

function write(name: string, descriptor: unknown): void {
  const out = new URL('gen/', import.meta.url);
  mkdirSync(out, { recursive: true });
  writeFileSync(new URL(name, out), JSON.stringify(descriptor));
}

const envoy = loadAll();
addResourceErrors(envoy);
addSourcedMetadata(envoy);
envoy.resolveAll();
write('envoy.json', prune(envoy.toJSON({ keepComments: false }) as Json, '', closure(envoy)));

const operator = new protobuf.Root();
const operatorProto = new URL('countersign/operator/v1/operator.proto', import.meta.url);
operator.loadSync(operatorProto.pathname, { keepCase: true });
write('operator.json', operator.toJSON({ keepComments: false }));
