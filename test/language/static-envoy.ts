import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from '../harness/process.ts';
import { envoyPath } from '../harness/paths.ts';
import { waitFor } from '../harness/wait.ts';
import type { CompiledFilters } from '../../src/policy/index.ts';
import type { JsonObject } from '../../src/proxy/index.ts';

let started = 50;
const v3 = 'type.googleapis.com/envoy.';

export interface StaticEnvoyOptions {
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** What runs before the RBAC filters. */
  readonly before: readonly JsonObject[];
  /** The compiled filters of many workloads, by a name that `x-set` chooses. */
  readonly sets: ReadonlyMap<string, CompiledFilters>;
  readonly clusters?: readonly JsonObject[];
  /** A second listener, in front of the cluster `tcp`. */
  readonly tcp?: { readonly port: number; readonly filters: readonly JsonObject[] };
  /** Further listeners, whole. */
  readonly listeners?: readonly JsonObject[];
}

/** A real Envoy with a plaintext listener and filters from a file: what mTLS and xDS add is tried elsewhere. */
export class StaticEnvoy {
  readonly #child: Child;
  readonly #folder: string;
  readonly #adminPort: number;

  constructor(options: StaticEnvoyOptions) {
    this.#adminPort = options.adminPort;
    this.#folder = mkdtempSync(join(tmpdir(), 'countersign-language-'));
    const file = join(this.#folder, 'envoy.json');
    writeFileSync(file, JSON.stringify(configOf(options)));
    this.#child = new Child('envoy', envoyPath(), [
      ...[
        '-c',
        file,
        '--base-id',
        String(process.pid * 100 + (started += 1)),
        '--concurrency',
        '1',
        '--log-level',
        'warning',
      ],
    ]);
  }

  get log(): string {
    return this.#child.stderr;
  }

  async ready(): Promise<void> {
    await waitFor('Envoy to be ready', async () => {
      this.#child.assertRunning();
      return (await fetch(`http://127.0.0.1:${this.#adminPort}/ready`)).status === 200 ? true : undefined;
    });
  }

  async stop(): Promise<void> {
    await this.#child.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function configOf(options: StaticEnvoyOptions): JsonObject {
  const { host, port, adminPort, before, sets, clusters = [], tcp, listeners = [] } = options;
  const rbac = `${v3}extensions.filters.http.rbac.v3.RBAC`;
  const manager = {
    '@type': `${v3}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'language',
    normalize_path: true,
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [...sets].map(([name, set]) => routeOf(name, set)) },
      ],
    },
    http_filters: [
      ...before,
      ...(['audit', 'deny', 'allow'] as const).map((name) => ({ name, typed_config: { '@type': rbac } })),
      {
        name: 'router',
        typed_config: { '@type': `${v3}extensions.filters.http.router.v3.Router` },
      },
    ],
  };
  const address = (at: string, number: number): JsonObject => ({
    socket_address: { address: at, port_value: number },
  });
  return {
    admin: { address: address('127.0.0.1', adminPort) },
    static_resources: {
      clusters,
      listeners: [
        {
          name: 'language',
          address: address(host, port),
          filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
        },
        ...(tcp === undefined
          ? []
          : [
              {
                name: 'tcp',
                address: address(host, tcp.port),
                filter_chains: [{ filters: [...tcp.filters, tcpProxy] }],
              },
            ]),
        ...listeners,
      ],
    },
  };
}

const tcpProxy: JsonObject = {
  name: 'tcp',
  typed_config: {
    '@type': `${v3}extensions.filters.network.tcp_proxy.v3.TcpProxy`,
    stat_prefix: 'tcp',
    cluster: 'tcp',
  },
};

/** A compiled filter as a file takes it. */
export function inFile(filter: { readonly name: string; readonly typed_config: object }): JsonObject {
  return JSON.parse(JSON.stringify(filter)) as JsonObject;
}

/** A cluster with one endpoint on 127.0.0.1. */
export function clusterAt(name: string, port: number, http2: boolean): JsonObject {
  const options = `${v3}extensions.upstreams.http.v3.HttpProtocolOptions`;
  const endpoint = { address: { socket_address: { address: '127.0.0.1', port_value: port } } };
  return {
    name,
    type: 'STATIC',
    connect_timeout: '2s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] },
    ...(http2 && {
      typed_extension_protocol_options: {
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
          '@type': options,
          explicit_http_config: { http2_protocol_options: {} },
        },
      },
    }),
  };
}

function routeOf(name: string, { audit, deny, allow }: CompiledFilters): JsonObject {
  const perRoute = `${v3}extensions.filters.http.rbac.v3.RBACPerRoute`;
  return {
    match: { prefix: '/', headers: [{ name: 'x-set', string_match: { exact: name } }] },
    direct_response: { status: 200 },
    typed_per_filter_config: Object.fromEntries(
      Object.entries({ audit, deny, allow }).map(([filter, { typed_config: config }]) => [
        filter,
        { '@type': perRoute, rbac: withoutType(config) },
      ]),
    ),
  };
}

function withoutType(config: object): JsonObject {
  return JSON.parse(JSON.stringify({ ...config, '@type': undefined })) as JsonObject;
}
