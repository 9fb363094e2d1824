import { bootstrap, parseInbound, type JsonObject } from '../../../src/proxy/index.ts';
import { AUTHORIZERS, DOOR_ADDRESSES, type Door } from '../world.ts';
import { authorizerCluster } from '../../../src/policy/index.ts';
import { NUMBER_HEADER } from './authorizers.ts';
import { fromFile, type Filter } from './files.ts';
import type { Certificates } from './certificates.ts';
import { metadataFilter } from './metadata.ts';
import { PROXIED_TEXTS } from './proxy-protocol.ts';
import { jwtFilter } from './tokens.ts';
import { verifyingFilter } from './verifying.ts';

export const ROUTES = 'equality';

const V3 = 'type.googleapis.com/envoy.';

export interface ConfigOptions {
  readonly certificates: Certificates;
  /** Where routes and listeners are read from, and the access log of TCP connections goes. */
  readonly folder: string;
  readonly adminPort: number;
  /** Of every HTTP listener. */
  readonly port: number;
  readonly echoPort: number;
  /** Of each external authorizer, by its name. */
  readonly authorizerPorts: Readonly<Record<string, number>>;
  /** How each external authorizer is asked about an HTTP request: the compiler's filter. */
  readonly asks: ReadonlyMap<string, Filter>;
}

export type Mutable = Record<string, unknown>;

/** What `countersign bootstrap` writes for one inbound listener; all that is tried here is a variation of it. */
export function sidecarListener(protocol: 'http' | 'tcp', which: Door, options: ConfigOptions): Mutable {
  const document = bootstrap({
    pod: 'a/server',
    controlPlane: { address: '127.0.0.1', port: 1 },
    serverName: 'unused',
    caFile: 'unused',
    tokenFile: 'unused',
    inbound: [parseInbound(`${protocol}:${DOOR_ADDRESSES.sidecar}:${options.port}=127.0.0.1:1`)],
    outbound: [],
    adminPort: options.adminPort,
    accessLog: `${options.folder}/access.log`,
    xds: 'delta',
    maxConnectionSeconds: 3_600,
    sourceAddress: undefined,
    authorizers: [],
  });
  const listener = structuredClone(at(document, 'static_resources', 'listeners', 0)) as Mutable;
  const way = which === 'plaintext' ? ['default_filter_chain'] : ['filter_chains', 0];
  const chain = at(listener, ...way) as Mutable;
  delete listener['default_filter_chain'];
  delete listener['access_log'];
  delete chain['filter_chain_match'];
  // How peers come is not on trial here, and what stands in front of the judging filters is put there by us.
  chain['filters'] = (at(chain, 'filters') as Mutable[]).filter(isOnTrial);
  listener['filter_chains'] = [chain];
  return listener;
}

function isOnTrial({ name }: Mutable): boolean {
  return !/\.(peer\.[a-z]+|custom|ext_authz|jwt)$/u.test(String(name));
}

/** The value at a path that must be there: if the bootstrap changes its shape, this suite must notice. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let here = value;
  for (const key of path) here = (here as Record<string | number, unknown> | undefined)?.[key];
  if (here === undefined) throw new Error(`the bootstrap has no ${path.join('.')} any more`);
  return here;
}

/** A door: the sidecar's listener with secrets from here, its own address, and what it lets in. */
export function door(listener: Mutable, which: Door, port: number, { certificates }: ConfigOptions): Mutable {
  const chain = at(listener, 'filter_chains', 0) as Mutable;
  if (which !== 'plaintext') {
    const tls = at(chain, 'transport_socket', 'typed_config') as Mutable;
    const common = at(tls, 'common_tls_context') as Mutable;
    delete common['tls_certificate_sds_secret_configs'];
    delete common['validation_context_sds_secret_config'];
    const { cert, key } = certificates.server;
    common['tls_certificates'] = [
      { certificate_chain: { inline_string: cert }, private_key: { inline_string: key } },
    ];
    common['validation_context'] = which === 'open' ? anyRoot(certificates) : spiffeOnly(certificates);
    if (which === 'open') tls['require_client_certificate'] = false;
  }
  if (which === 'proxied')
    listener['listener_filters'] = [proxyProtocol, ...(at(listener, 'listener_filters') as JsonObject[])];
  return {
    ...listener,
    name: `${which}-${port}`,
    address: { socket_address: { address: DOOR_ADDRESSES[which], port_value: port } },
  };
}

/** Texts of the header become dynamic metadata. */
const proxyProtocol: JsonObject = {
  name: 'proxy_protocol',
  typed_config: {
    '@type': `${V3}extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`,
    rules: PROXIED_TEXTS.map(({ type, name, key }) => ({
      tlv_type: type,
      on_tlv_present: { metadata_namespace: name, key },
    })),
  },
};

function spiffeOnly({ bundles }: Certificates): JsonObject {
  return {
    custom_validator_config: {
      name: 'envoy.tls.cert_validator.spiffe',
      typed_config: {
        '@type': `${V3}extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig`,
        trust_domains: bundles.map((bundle) => ({
          name: bundle.trustDomain.name,
          trust_bundle: { inline_string: bundle.toPem() },
        })),
      },
    },
  };
}

function anyRoot({ bundles, oddRoot }: Certificates): JsonObject {
  return { trusted_ca: { inline_string: bundles.map((bundle) => bundle.toPem()).join('') + oddRoot } };
}

/** The bootstrap's access log, and in it what else is needed to read a verdict. */
export function extendLog(config: Mutable): void {
  const format = at(config, 'access_log', 0, 'typed_config', 'log_format') as Mutable;
  const fields = at(format, 'json_format') as Record<string, string>;
  const rbac = /\((envoy\.filters\.[a-z]+\.rbac):/u.exec(fields['shadow_denied_by'] ?? '')?.[1];
  const metadata = (key: string): string => `%DYNAMIC_METADATA(${rbac}:${key})%`;
  format['json_format'] = {
    // Of what is enforced, the network filter tells the denial alone: see `mirrors`.
    allowed_by: metadata('mirror_allow_shadow_effective_policy_id'),
    audited_by: metadata('mirror_audit_shadow_effective_policy_id'),
    asked_by: metadata('countersign_custom_shadow_effective_policy_id'),
    ...fields,
    shadow_allow_result: metadata('countersign_allow_shadow_engine_result'),
    ...('method' in fields && { number: `%REQ(${NUMBER_HEADER})%` }),
  };
}

function httpListener(which: Door, options: ConfigOptions): Mutable {
  const listener = sidecarListener('http', which, options);
  const manager = at(listener, 'filter_chains', 0, 'filters', 0, 'typed_config') as Mutable;
  extendLog(manager);
  if (which === 'forwarded') manager['use_remote_address'] = false;
  manager['stat_prefix'] = which;
  delete manager['route_config'];
  manager['rds'] = { route_config_name: ROUTES, config_source: fromFile(options.folder, 'routes.json') };
  const filters = (at(manager, 'http_filters') as Mutable[])
    .filter(isOnTrial)
    .map((filter) =>
      filter['config_discovery'] === undefined
        ? filter
        : { name: filter['name'], typed_config: at(filter, 'config_discovery', 'default_config') },
    );
  const custom = [selectFilter, ...options.asks.values()];
  manager['http_filters'] = [
    metadataFilter,
    ...custom,
    jwtFilter,
    verifyingFilter(options.folder),
    ...filters,
  ];
  return door(listener, which, options.port, options);
}

/** Where the rules of CUSTOM policies go, in front of those who are asked. */
const selectFilter: JsonObject = {
  name: 'countersign.authz.http.custom',
  typed_config: { '@type': `${V3}extensions.filters.http.rbac.v3.RBAC` },
};

/** The bootstrap of the Envoy that judges: HTTP listeners, whose routes (one for each policy set) come from a file. */
export function envoyConfig(options: ConfigOptions): JsonObject {
  const doors = Object.keys(DOOR_ADDRESSES) as Door[];
  return {
    node: { id: 'equality', cluster: 'equality' },
    admin: { address: socket(DOOR_ADDRESSES.sidecar, options.adminPort) },
    dynamic_resources: { lds_config: fromFile(options.folder, 'listeners.json') },
    static_resources: {
      listeners: [...doors.map((which) => httpListener(which, options) as JsonObject), echo(options)],
      clusters: [
        cluster('echo', socket(DOOR_ADDRESSES.sidecar, options.echoPort)),
        ...AUTHORIZERS.map((authorizer) => ({
          ...cluster(
            authorizerCluster(authorizer),
            socket('127.0.0.1', options.authorizerPorts[authorizer.name] ?? 0),
          ),
          ...(authorizer.protocol === 'grpc' && { typed_extension_protocol_options: http2 }),
        })),
      ],
    },
  };
}

const http2: JsonObject = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': `${V3}extensions.upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: {} },
  },
};

function cluster(name: string, address: JsonObject): Record<string, JsonObject[string]> {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '30s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  };
}

function socket(address: string, port: number): JsonObject {
  return { socket_address: { address, port_value: port } };
}

function echo({ echoPort }: ConfigOptions): JsonObject {
  return {
    name: 'echo',
    address: socket(DOOR_ADDRESSES.sidecar, echoPort),
    filter_chains: [
      {
        filters: [
          { name: 'echo', typed_config: { '@type': `${V3}extensions.filters.network.echo.v3.Echo` } },
        ],
      },
    ],
  };
}
