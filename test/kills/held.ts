import { hash, X509Certificate } from 'node:crypto';
import type { TestEnvoy } from '../harness/envoy.ts';

/** What an Envoy holds. */
export interface Held {
  readonly pod: string;
  /** Its own chain, leaf first. */
  readonly chain: readonly X509Certificate[];
  /** The roots that it trusts. */
  readonly roots: readonly X509Certificate[];
}

interface Dump {
  readonly configs: readonly {
    readonly dynamic_active_secrets?: readonly { readonly secret: Secret }[];
  }[];
}

interface Secret {
  readonly tls_certificate?: { readonly certificate_chain: Bytes };
  readonly validation_context?: {
    readonly trusted_ca?: Bytes;
    readonly custom_validator_config?: {
      readonly typed_config: { readonly trust_domains: readonly { readonly trust_bundle: Bytes }[] };
    };
  };
}

interface Bytes {
  readonly inline_bytes?: string;
  readonly inline_string?: string;
}

/** By Envoy's own dump of its secrets. */
export async function heldBy(envoy: TestEnvoy): Promise<Held> {
  const { configs } = JSON.parse(await envoy.admin('/config_dump')) as Dump;
  const secrets = configs
    .flatMap(({ dynamic_active_secrets: active = [] }) => active)
    .map(({ secret }) => secret);
  const own = secrets.flatMap(({ tls_certificate: held }) => (held === undefined ? [] : [held]))[0];
  const trusted = secrets.flatMap(({ validation_context: context = {} }) => [
    ...(context.trusted_ca === undefined ? [] : [context.trusted_ca]),
    ...(context.custom_validator_config?.typed_config.trust_domains ?? []).map(
      ({ trust_bundle: bundle }) => bundle,
    ),
  ]);
  return {
    pod: envoy.pod,
    chain: own === undefined ? [] : certificatesIn(own.certificate_chain),
    roots: trusted.flatMap(certificatesIn),
  };
}

/** Of the root that vouches for its chain, among these; undefined: none does. SHA-256, lower-case hex. */
export function rootOf({ chain }: Held, roots: readonly X509Certificate[]): string | undefined {
  const top = chain.at(-1);
  const found = roots.find((root) => top !== undefined && top.verify(root.publicKey));
  return found && hash('sha256', found.raw);
}

function certificatesIn({ inline_bytes: bytes, inline_string: plain }: Bytes): readonly X509Certificate[] {
  const pem = plain ?? Buffer.from(bytes ?? '', 'base64').toString('utf8');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/gu) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
