import { request as plain } from 'node:http';
import { request as overTls } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, memoryKeyStore } from '../../src/authority/index.ts';
import { SpiffeId, TrustDomain } from '../../src/identity/index.ts';
import {
  compilePeerModes,
  Evaluator,
  parseAuthorizationPolicy,
  parsePeerAuthentication,
  renderIssues,
  resolvePeerModes,
  type AuthorizationPolicy,
  type PeerMode,
  type PeerModes,
} from '../../src/policy/index.ts';
import type { JsonObject } from '../../src/proxy/index.ts';
import { freePort, loopbackSubnet } from '../harness/ports.ts';
import { inFile, StaticEnvoy } from './static-envoy.ts';

const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;
const v3 = 'type.googleapis.com/envoy.extensions';
const subnet = loopbackSubnet();
const modes: readonly (PeerMode | 'UNSET')[] = ['UNSET', 'STRICT', 'PERMISSIVE', 'DISABLE'];
const caller = 'spiffe://td/ns/shop/sa/web';

/** One for each mode, and one port that no document names. */
const ports = await distinctPorts(modes.length + 1);
/** A workload for each mode that it may have, at an address of its own. */
const workloads = modes.map((mode, index) => ({ mode, host: `${subnet}.${index + 2}`, peer: modesOf(mode) }));

async function distinctPorts(count: number): Promise<readonly number[]> {
  const found = new Set<number>();
  while (found.size < count) found.add(await freePort(`${subnet}.2`));
  return [...found];
}

function modesOf(mode: PeerMode | 'UNSET'): PeerModes {
  const portLevelMtls = Object.fromEntries(modes.map((each, index) => [ports[index], { mode: each }]));
  const parsed = parsePeerAuthentication({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'cart', namespace: 'shop' },
    spec: { selector: { matchLabels: { app: 'cart' } }, mtls: { mode }, portLevelMtls },
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return resolvePeerModes([parsed.policy], { namespace: 'shop', labels: { app: 'cart' } }, settings);
}

const everything: AuthorizationPolicy = ((): AuthorizationPolicy => {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'all', namespace: 'shop' },
    spec: { rules: [{}] },
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
})();

interface Credential {
  readonly cert: string;
  readonly key: string;
}

function listener(
  host: string,
  port: number,
  peer: PeerModes,
  { cert, key }: Credential,
  ca: string,
): JsonObject {
  const manager = {
    '@type': `${v3}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'peer',
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }],
        },
      ],
    },
    http_filters: [{ name: 'router', typed_config: { '@type': `${v3}.filters.http.router.v3.Router` } }],
  };
  const http = { name: 'http', typed_config: manager };
  const { mtls, plaintext } = compilePeerModes(peer);
  const tls = {
    '@type': `${v3}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    common_tls_context: {
      tls_certificates: [{ certificate_chain: { inline_string: cert }, private_key: { inline_string: key } }],
      validation_context: { trusted_ca: { inline_string: ca } },
    },
  };
  return {
    name: `${host}:${port}`,
    address: { socket_address: { address: host, port_value: port } },
    listener_filters: [
      { name: 'tls', typed_config: { '@type': `${v3}.filters.listener.tls_inspector.v3.TlsInspector` } },
    ],
    filter_chains: [
      {
        filter_chain_match: { transport_protocol: 'tls' },
        transport_socket: { name: 'tls', typed_config: tls },
        filters: [inFile(mtls), http],
      },
      { filter_chain_match: { transport_protocol: 'raw_buffer' }, filters: [inFile(plaintext), http] },
    ],
  };
}

let client: Credential;
let envoy: StaticEnvoy;

beforeAll(async () => {
  const authority = await Authority.open({
    ...{
      store: memoryKeyStore(),
      trustDomain: TrustDomain.parse('td'),
      nowMs: Date.now,
      svidTtlMs: 3_600_000,
    },
  });
  const issue = (id: string): Credential => {
    const svid = authority.issue(SpiffeId.parse(id));
    return { cert: svid.chainPem, key: svid.privateKeyPem };
  };
  client = issue(caller);
  const ca = authority.bundle.x509Authorities
    .map(
      (der) =>
        `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`,
    )
    .join('');
  const server = issue('spiffe://td/ns/shop/sa/cart');
  const host = `${subnet}.1`;
  envoy = new StaticEnvoy({
    ...{ host, port: await freePort(host), adminPort: await freePort(), before: [], sets: new Map() },
    listeners: workloads.flatMap((each) =>
      ports.map((port) => listener(each.host, port, each.peer, server, ca)),
    ),
  });
  await envoy.ready();
}, 60_000);
afterAll(async () => {
  await envoy.stop();
});

/** Whether anything answers. */
async function answers(host: string, port: number, credential: Credential | undefined): Promise<boolean> {
  return await new Promise((resolve) => {
    const options = { host, port, agent: false } as const;
    const sent =
      credential === undefined
        ? plain(options, (response) => resolve(response.statusCode === 200))
        : overTls({ ...options, ...credential, rejectUnauthorized: false }, (response) =>
            resolve(response.statusCode === 200),
          );
    sent.once('error', () => resolve(false));
    sent.end();
  });
}

describe('PeerAuthentication in Envoy', () => {
  it.each(workloads)(
    'decides as the evaluator says where a workload is $mode',
    async ({ mode, host, peer }) => {
      const evaluator = new Evaluator([everything], { settings, peer });
      const came: object[] = [];
      const said: object[] = [];
      for (const [index, port] of ports.entries()) {
        for (const principal of [undefined, caller]) {
          const passes = await answers(host, port, principal === undefined ? undefined : client);
          const about = { on: modes[index] ?? 'no mode', principal };
          came.push({ ...about, passes });
          const { verdict } = evaluator.decide({
            ...{ protocol: 'tcp', principal, destinationPort: port, headers: {} },
            ...{ sourceIp: undefined, remoteIp: undefined, destinationIp: host, sni: undefined },
            ...{ method: undefined, path: undefined, host: undefined },
          });
          said.push({ ...about, passes: verdict === 'ALLOW' });
          const own = modes[index] ?? 'UNSET';
          const means = own === 'UNSET' ? (mode === 'UNSET' ? 'STRICT' : mode) : own;
          expect(passes, JSON.stringify(about)).toBe(
            means === 'PERMISSIVE' || (means === 'STRICT') === (principal !== undefined),
          );
        }
      }
      expect(came).toEqual(said);
    },
  );

  it('has the smallest filters where nobody says anything', () => {
    const { mtls, plaintext } = compilePeerModes(
      resolvePeerModes([], { namespace: 'x', labels: {} }, settings),
    );
    expect(mtls.typed_config).not.toHaveProperty('rules');
    expect(plaintext.typed_config).toMatchObject({ rules: { action: 'ALLOW', policies: {} } });
  });
});
