import { describe, expect, it } from 'vitest';
import { bootstrap, parseEndpoint, parseInbound, parseOutbound, type BootstrapOptions } from './index.ts';

const id = 'spiffe://cluster.local/ns/shop/sa/cart';
const options: BootstrapOptions = {
  pod: 'shop/web',
  controlPlane: { address: '127.0.0.1', port: 15_012 },
  serverName: 'countersign.example',
  caFile: '/data/bundle.pem',
  tokenFile: '/data/token',
  inbound: [parseInbound('127.0.0.2:8080=127.0.0.1:80'), parseInbound('tcp:127.0.0.2:5432=127.0.0.1:5432')],
  outbound: [parseOutbound(`127.0.0.1:9001=127.0.0.3:8080=${id}`)],
  adminPort: 15_000,
  accessLog: '-',
  xds: 'delta',
  maxConnectionSeconds: 1_800,
  sourceAddress: undefined,
  authorizers: [],
};

/** Every object in a document that has `key`. */
function withKey(document: unknown, key: string): Record<string, unknown>[] {
  if (typeof document !== 'object' || document === null) return [];
  const own = key in document ? [document as Record<string, unknown>] : [];
  return [...own, ...Object.values(document).flatMap((value) => withKey(value, key))];
}

describe('bootstrap', () => {
  const document = bootstrap(options);

  it('takes messages as large as all filters of a workload may be', () => {
    const channels = withKey(document, 'channel_args').map(({ channel_args: args }) => args);
    expect(channels.length).toBeGreaterThan(0);
    for (const channel of channels)
      expect(channel).toMatchObject({
        args: { 'grpc.max_receive_message_length': { int_value: 16 * 1024 * 1024 } },
      });
  });

  it('requires a client certificate and TLS 1.3 of whoever comes by TLS', () => {
    const contexts = withKey(document, 'require_client_certificate');
    expect(contexts).toHaveLength(2);
    for (const context of contexts) expect(context['require_client_certificate']).toBe(true);
    const params = withKey(document, 'tls_params').map((context) => context['tls_params']);
    expect(params).toHaveLength(3);
    for (const tls of params) expect(tls).toMatchObject({ tls_minimum_protocol_version: 'TLSv1_3' });
  });

  it('takes every filter by ECDS with a default that denies all, in the order in which they judge', () => {
    const filters = withKey(document, 'config_discovery');
    const authz = (protocol: string, ...slots: string[]): string[] =>
      slots.map((slot) => `countersign.authz.${protocol}.${slot}`);
    const http = [
      'countersign.authn.peer.http',
      ...authz('http', 'custom', 'ext_authz'),
      'countersign.authn.http.jwt',
      ...authz('http', 'audit', 'deny', 'allow'),
    ];
    const tcp = authz('tcp', 'custom', 'ext_authz', 'audit', 'deny', 'allow');
    const chain = (which: string, judging: string[]): string[] => [
      `countersign.authn.peer.${which}`,
      ...judging,
    ];
    expect(filters.map((filter) => filter['name'])).toEqual(
      [http, tcp].flatMap((judging) => [...chain('mtls', judging), ...chain('plaintext', judging)]),
    );
    for (const { config_discovery: discovery } of filters) {
      expect(discovery).toMatchObject({ default_config: { rules: { action: 'ALLOW', policies: {} } } });
    }
  });

  it('knows every authorizer of the mesh as a cluster, by address or by name, gRPC as HTTP/2', () => {
    const authorizer = { timeoutMs: 500, failOpen: false, statusOnError: 403 };
    const { static_resources: resources } = bootstrap({
      ...options,
      authorizers: [
        { ...authorizer, name: 'opa', protocol: 'grpc', host: 'opa.policy.svc', port: 9_191 },
        { ...authorizer, name: 'web', protocol: 'http', host: 'fd00::7', port: 8_000 },
      ],
    });
    const clusters = withKey(resources, 'load_assignment').filter(({ name }) =>
      String(name).startsWith('countersign.authorizer.'),
    );
    expect(clusters).toMatchObject([
      { name: 'countersign.authorizer.opa|opa.policy.svc|9191', type: 'STRICT_DNS' },
      { name: 'countersign.authorizer.web|fd00::7|8000', type: 'STATIC' },
    ]);
    const versions = clusters.map((cluster) => withKey(cluster, 'explicit_http_config')[0]);
    expect(versions).toMatchObject([
      { explicit_http_config: { http2_protocol_options: {} } },
      { explicit_http_config: { http_protocol_options: {} } },
    ]);
  });

  it('names the one SPIFFE ID that an upstream must prove', () => {
    const [context] = withKey(document, 'combined_validation_context');
    expect(context?.['combined_validation_context']).toMatchObject({
      default_validation_context: {
        match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: id } }],
      },
    });
  });

  it('lets no connection outlive the SVID that it was made with', () => {
    const ages = ['max_connection_duration', 'max_downstream_connection_duration'].flatMap((key) =>
      withKey(document, key).map((where) => where[key]),
    );
    expect(new Set(ages)).toEqual(new Set(['1800s']));
    expect(ages.length).toBeGreaterThanOrEqual(3);
  });

  it('holds paths of secrets, never secrets', () => {
    const [credentials] = withKey(document, 'secret_data');
    expect(credentials?.['secret_data']).toEqual({ filename: '/data/token' });
    expect(withKey(document, 'inline_string')).toEqual([]);
    expect(withKey(document, 'inline_bytes')).toEqual([]);
  });

  it('keeps the admin port on loopback', () => {
    expect(document['admin']).toEqual({
      address: { socket_address: { address: '127.0.0.1', port_value: 15_000 } },
    });
  });

  it('brackets an IPv6 control plane', () => {
    const v6 = bootstrap({ ...options, controlPlane: { address: '::1', port: 1 } });
    expect(withKey(v6, 'target_uri')[0]?.['target_uri']).toBe('[::1]:1');
  });
});

describe('flags', () => {
  it('reads listeners with their scheme', () => {
    expect(parseInbound('127.0.0.2:8080=app.local:80')).toEqual({
      protocol: 'http',
      listen: { address: '127.0.0.2', port: 8080 },
      app: { address: 'app.local', port: 80 },
      appHttp: 1,
    });
    expect(parseInbound('http2:[::1]:1=127.0.0.1:2')).toMatchObject({
      protocol: 'http',
      appHttp: 2,
      listen: { address: '::1', port: 1 },
    });
    expect(parseOutbound(`tcp:127.0.0.1:1=127.0.0.1:2=${id}`)).toMatchObject({
      protocol: 'tcp',
      spiffeId: id,
    });
  });

  it.each([
    [() => parseInbound('8080'), /--inbound: "8080": write \[http2:\|tcp:\]LISTEN=APP/u],
    [() => parseInbound('127.0.0.1:1=127.0.0.1:2=x'), /write \[http2:/u],
    [() => parseInbound('host:1=127.0.0.1:2'), /"host" is not an IP address/u],
    [() => parseInbound('127.0.0.1:0=127.0.0.1:2'), /port 1 to 65535/u],
    [() => parseInbound('127.0.0.1:65536=127.0.0.1:2'), /port 1 to 65535/u],
    [() => parseOutbound('127.0.0.1:1=127.0.0.1:2'), /LISTEN=UPSTREAM=SPIFFEID/u],
    [() => parseOutbound('127.0.0.1:1=127.0.0.1:2=http://x'), /--outbound: .*spiffe/u],
    [() => parseEndpoint('--control-plane', 'a b:1', true), /not an IP address or a DNS name/u],
  ])('refuses %s with what is allowed', (parse, message) => {
    expect(parse).toThrow(message);
  });
});
