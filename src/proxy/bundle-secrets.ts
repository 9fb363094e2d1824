import { SpiffeId, type TrustBundle } from '../identity/index.ts';
import { bundleSecret, type TrustedDomain } from './secrets.ts';
import type { EncodedResource, ResourceEncoder } from './encoder.ts';

/** What Envoys are to trust. */
export interface Trust {
  readonly own: TrustBundle;
  /** Each of another trust domain; none of them is empty. */
  readonly federated: readonly TrustBundle[];
  /** Whether this trust domain is federated, or was. */
  readonly knows: (trustDomain: string) => boolean;
}

/** Stands in no SPIFFE ID: a bundle under this name vouches for nobody. */
const NOBODY = '(nobody)';

/** The bundle secrets, the same for every Envoy: encoded once for each bundle, shared by all. */
export class BundleSecrets {
  readonly #encoder: ResourceEncoder;
  readonly #trust: () => Trust;
  #encodedFrom: readonly TrustBundle[] = [];
  readonly #byName = new Map<string, EncodedResource>();

  constructor(encoder: ResourceEncoder, trust: () => Trust) {
    this.#encoder = encoder;
    this.#trust = trust;
  }

  /** `ROOTCA`, `ALL`, `spiffe://<trust domain>`; undefined for any other name. */
  get(name: string): EncodedResource | undefined {
    const trust = this.#trust();
    const all = [trust.own, ...trust.federated];
    if (this.#encodedFrom.length !== all.length || all.some((each, at) => each !== this.#encodedFrom[at])) {
      this.#byName.clear();
      this.#encodedFrom = all;
    }
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const domains = domainsFor(name, all, trust);
    if (domains === undefined) return undefined;
    const secret = bundleSecret(this.#encoder, name, domains);
    this.#byName.set(name, secret);
    return secret;
  }
}

/** What a secret of this name trusts, each trust domain for itself. */
function domainsFor(
  name: string,
  all: readonly TrustBundle[],
  { own, knows }: Trust,
): readonly TrustedDomain[] | undefined {
  if (name === 'ALL') return all.map(trusted);
  if (name === 'ROOTCA') return [trusted(own)];
  const one = all.find(({ trustDomain }) => trustDomain.id.uri === name);
  if (one !== undefined) return [trusted(one)];
  // An Envoy keeps what it has of a name that it is refused: it has to be given something that trusts nobody.
  const federated = name.startsWith('spiffe://') && knows(name.slice('spiffe://'.length));
  return federated ? [{ name: NOBODY, pem: own.toPem() }] : undefined;
}

function trusted(bundle: TrustBundle): TrustedDomain {
  return { name: bundle.trustDomain.name, pem: bundle.toPem() };
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
