import type { IssuedSvid } from '../authority/index.ts';
import type { EncodedResource, ResourceEncoder } from './encoder.ts';
import { SECRET_TYPE } from './resource-types.ts';

/** A certificate chain with its key, as Envoy's `tls_certificate`. */
export function svidSecret(encoder: ResourceEncoder, name: string, svid: IssuedSvid): EncodedResource {
  return encoder.encodeDirectly(SECRET_TYPE, name, {
    tls_certificate: {
      certificate_chain: { inline_bytes: Buffer.from(svid.chainPem) },
      private_key: { inline_bytes: Buffer.from(svid.privateKeyPem) },
    },
  });
}

/** A trust domain by its name in SPIFFE IDs, and its roots. */
export interface TrustedDomain {
  readonly name: string;
  readonly pem: string;
}

/**
 * Trust bundles for Envoy's SPIFFE validator: each trust domain stays apart, so that no domain's root can vouch
 * for another's identities (SPIFFE Federation §4.2).
 */
export function bundleSecret(
  encoder: ResourceEncoder,
  name: string,
  domains: readonly TrustedDomain[],
): EncodedResource {
  return encoder.encode(SECRET_TYPE, name, {
    validation_context: {
      custom_validator_config: {
        name: 'envoy.tls.cert_validator.spiffe',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
          trust_domains: domains.map(({ name: trustDomain, pem }) => ({
            name: trustDomain,
            trust_bundle: { inline_bytes: Buffer.from(pem) },
          })),
        },
      },
    },
  });
}
