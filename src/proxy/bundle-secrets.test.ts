import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { FakeCa } from '../../test/fake/ca.ts';
import { TrustDomain } from '../identity/index.ts';
import { BundleSecrets, type Trust } from './bundle-secrets.ts';
import { ResourceEncoder } from './encoder.ts';

const schema = protobuf.Root.fromJSON(
  JSON.parse(
    readFileSync(new URL('../../proto/gen/envoy.json', import.meta.url), 'utf8'),
  ) as protobuf.INamespace,
);
let own: FakeCa;
let partner: FakeCa;
let trust: Trust;
beforeAll(async () => {
  own = await FakeCa.root(TrustDomain.parse('own.example'));
  partner = await FakeCa.root(TrustDomain.parse('partner.example'));
});
const trusting = (...federated: readonly FakeCa[]): Trust => ({
  own: own.bundle(),
  federated: federated.map((ca) => ca.bundle()),
  knows: (name) => name === 'partner.example',
});

interface Config {
  readonly trust_domains: readonly {
    readonly name: string;
    readonly trust_bundle: { inline_bytes: Uint8Array };
  }[];
}

/** Trust domains of a secret, each with the roots that vouch for it; undefined: there is no such secret. */
function trusted(secrets: BundleSecrets, name: string): Readonly<Record<string, string>> | undefined {
  const body = secrets.get(name)?.body;
  if (body === undefined) return undefined;
  const secret = schema
    .lookupType('envoy.extensions.transport_sockets.tls.v3.Secret')
    .decode(body) as unknown as {
    validation_context: { custom_validator_config: { typed_config: { value: Uint8Array } } };
  };
  const config = schema
    .lookupType('envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig')
    .decode(secret.validation_context.custom_validator_config.typed_config.value) as unknown as Config;
  return Object.fromEntries(
    config.trust_domains.map((each) => [each.name, Buffer.from(each.trust_bundle.inline_bytes).toString()]),
  );
}

describe('bundle secrets', () => {
  it('F-6, F-3: hold each trust domain under its own name, with its own roots alone', () => {
    trust = trusting(partner);
    const secrets = new BundleSecrets(new ResourceEncoder(schema), () => trust);
    const [mine, theirs] = [own.bundle().toPem(), partner.bundle().toPem()];
    expect(trusted(secrets, 'ALL')).toEqual({ 'own.example': mine, 'partner.example': theirs });
    expect(trusted(secrets, 'ROOTCA')).toEqual({ 'own.example': mine });
    expect(trusted(secrets, 'spiffe://own.example')).toEqual({ 'own.example': mine });
    expect(trusted(secrets, 'spiffe://partner.example')).toEqual({ 'partner.example': theirs });
    expect(trusted(secrets, 'spiffe://never.example')).toBeUndefined();
    expect(trusted(secrets, 'partner.example')).toBeUndefined();
  });

  it('B-5: of a trust domain without a bundle trust nobody, under a name that no SPIFFE ID has', () => {
    trust = trusting(partner);
    const secrets = new BundleSecrets(new ResourceEncoder(schema), () => trust);
    const before = secrets.get('ALL')?.version;
    trust = trusting();
    expect(secrets.get('ALL')?.version).not.toBe(before);
    expect(Object.keys(trusted(secrets, 'ALL') ?? {})).toEqual(['own.example']);
    const [name = ''] = Object.keys(trusted(secrets, 'spiffe://partner.example') ?? {});
    expect(() => TrustDomain.parse(name)).toThrow(/only a-z/u);
  });

  it('are the same bytes for the same bundles', () => {
    trust = trusting(partner);
    const secrets = new BundleSecrets(new ResourceEncoder(schema), () => trust);
    const first = secrets.get('ALL');
    expect(secrets.get('ALL')).toBe(first);
    trust = trusting(partner);
    expect(secrets.get('ALL')?.version).toBe(first?.version);
  });
});
