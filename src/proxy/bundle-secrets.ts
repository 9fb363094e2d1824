import { SpiffeId, type TrustBundle } from '../identity/index.ts';
import { bundleSecret } from './secrets.ts';
import type { EncodedResource, ResourceEncoder } from './encoder.ts';

/** The bundle secrets, the same for every Envoy: encoded once for each bundle, shared by all. */
export class BundleSecrets {
  readonly #encoder: ResourceEncoder;
  readonly #bundle: () => TrustBundle;
  #encodedFrom: TrustBundle | undefined;
  readonly #byName = new Map<string, EncodedResource>();

  constructor(encoder: ResourceEncoder, bundle: () => TrustBundle) {
    this.#encoder = encoder;
    this.#bundle = bundle;
  }

  /** `ROOTCA`, `ALL`, `spiffe://<trust domain>`; undefined for any other name. */
  get(name: string): EncodedResource | undefined {
    const bundle = this.#bundle();
    if (name !== 'ROOTCA' && name !== 'ALL' && name !== bundle.trustDomain.id.uri) return undefined;
    if (this.#encodedFrom !== bundle) {
      this.#byName.clear();
      this.#encodedFrom = bundle;
    }
    let secret = this.#byName.get(name);
    if (secret === undefined) {
      secret = bundleSecret(this.#encoder, name, [bundle]);
      this.#byName.set(name, secret);
    }
    return secret;
  }
}

/** Why a secret's name is refused, without a word about what exists elsewhere. */
export function refusedSecret(
  name: string,
  ownId: string,
): { kind: 'refused'; code: 'NOT_FOUND' | 'PERMISSION_DENIED'; reason: string } {
  const offered = `default, ROOTCA, ALL, ${ownId}, or spiffe://<trust domain>`;
  if (isSpiffeIdWithPath(name)) {
    return {
      kind: 'refused',
      code: 'PERMISSION_DENIED',
      reason: `${name} is not this workload's identity; it may ask for ${offered}`,
    };
  }
  return {
    kind: 'refused',
    code: 'NOT_FOUND',
    reason: `no secret has this name; this workload may ask for ${offered}`,
  };
}

function isSpiffeIdWithPath(name: string): boolean {
  try {
    return SpiffeId.parse(name).path !== '';
  } catch {
    return false; // Not a SPIFFE ID at all: just an unknown name.
  }
}
