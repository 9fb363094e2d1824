import { IdentityError, quote } from './errors.ts';

/** Bytes of a trust domain name (SPIFFE-ID section 2.3). */
export const MAX_TRUST_DOMAIN_BYTES = 255;
/** Bytes of a whole SPIFFE ID, all components counted (SPIFFE-ID section 2.3). */
export const MAX_SPIFFE_ID_BYTES = 2048;

const SCHEME = 'spiffe://';
const NOT_IN_TRUST_DOMAIN = /[^a-z0-9.\-_]/;
const NOT_IN_SEGMENT = /[^a-zA-Z0-9.\-_]/;
const UPPER_CASE = /[A-Z]/;

/** The name under which one set of roots vouches for workloads (SPIFFE-ID section 2.1). Made only by parsing. */
export class TrustDomain {
  /** Makes the type nominal: a look-alike object is no trust domain. */
  declare protected readonly checked: never;
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /**
   * @param text a name such as `example.org`; not a URI.
   * @throws IdentityError `trust-domain-empty`, `trust-domain-too-long`, `trust-domain-character`
   */
  static parse(text: string): TrustDomain {
    if (text === '') {
      throw new IdentityError(
        'trust-domain-empty',
        'The trust domain name is empty: give one such as "cluster.local".',
      );
    }
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_TRUST_DOMAIN_BYTES) {
      throw new IdentityError(
        'trust-domain-too-long',
        `The trust domain name has ${bytes} bytes: at most ${MAX_TRUST_DOMAIN_BYTES} are allowed.`,
      );
    }
    const bad = NOT_IN_TRUST_DOMAIN.exec(text);
    if (bad !== null) {
      const hint = UPPER_CASE.test(bad[0]) ? ' Write it in lower case.' : '';
      throw new IdentityError(
        'trust-domain-character',
        `The trust domain name ${quote(text)} has ${quote(bad[0])} at position ${bad.index}: only a-z, 0-9, ".", "-" and "_" are allowed, and no scheme, port or user.${hint}`,
      );
    }
    return new TrustDomain(text);
  }

  /** The trust domain's own SPIFFE ID, which its signing authorities carry: no path. */
  get id(): SpiffeId {
    return SpiffeId.authority(this);
  }

  /** The name. */
  toString(): string {
    return this.name;
  }

  toJSON(): string {
    return this.name;
  }
}

/** The namespace and service account that a workload's SPIFFE ID names. */
export interface WorkloadName {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** A SPIFFE ID (SPIFFE-ID section 2). Made only by parsing or from checked parts. */
export class SpiffeId {
  /** Makes the type nominal: a look-alike object is no SPIFFE ID. */
  declare protected readonly checked: never;
  readonly trustDomain: TrustDomain;
  /** Empty, or `/a/b`: it starts with `/` and never ends with one. */
  readonly path: string;
  readonly uri: string;

  private constructor(trustDomain: TrustDomain, path: string) {
    this.trustDomain = trustDomain;
    this.path = path;
    this.uri = `${SCHEME}${trustDomain.name}${path}`;
  }

  /**
   * @param text the whole URI. Upper case in scheme or trust domain is refused, not folded: one identity has one
   * spelling, so that comparing bytes (as Envoy does) is comparing identities.
   * @throws IdentityError `spiffe-id-scheme`, `spiffe-id-too-long`, `spiffe-id-path`, or what `TrustDomain.parse` throws
   */
  static parse(text: string): SpiffeId {
    refuseTooLong(Buffer.byteLength(text));
    if (!text.startsWith(SCHEME)) {
      const upper = text.slice(0, SCHEME.length).toLowerCase() === SCHEME;
      throw new IdentityError(
        'spiffe-id-scheme',
        `${quote(text)} does not begin with "spiffe://"${upper ? ' in lower case' : ''}: a SPIFFE ID looks like "spiffe://example.org/ns/shop/sa/web".`,
      );
    }
    const slash = text.indexOf('/', SCHEME.length);
    if (slash === -1) return new SpiffeId(TrustDomain.parse(text.slice(SCHEME.length)), '');
    const trustDomain = TrustDomain.parse(text.slice(SCHEME.length, slash));
    const path = text.slice(slash);
    refuseBadPath(path);
    return new SpiffeId(trustDomain, path);
  }

  /**
   * The ID of a Kubernetes workload: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
   * @throws IdentityError `spiffe-id-path`, `spiffe-id-too-long`
   */
  static workload(trustDomain: TrustDomain, namespace: string, serviceAccount: string): SpiffeId {
    refuseBadSegment(namespace, namespace);
    refuseBadSegment(serviceAccount, serviceAccount);
    const id = new SpiffeId(trustDomain, `/ns/${namespace}/sa/${serviceAccount}`);
    refuseTooLong(id.uri.length);
    return id;
  }

  /** The trust domain's own ID, without a path. */
  static authority(trustDomain: TrustDomain): SpiffeId {
    return new SpiffeId(trustDomain, '');
  }

  /** What the path names, if it has the form `/ns/<namespace>/sa/<service account>`. */
  workload(): WorkloadName | undefined {
    const [, ns, namespace, sa, serviceAccount, ...rest] = this.path.split('/');
    if (ns !== 'ns' || sa !== 'sa' || rest.length > 0) return undefined;
    if (namespace === undefined || serviceAccount === undefined) return undefined;
    return { namespace, serviceAccount };
  }

  equals(other: SpiffeId): boolean {
    return this.uri === other.uri;
  }

  /** The URI. */
  toString(): string {
    return this.uri;
  }

  toJSON(): string {
    return this.uri;
  }
}

function refuseTooLong(bytes: number): void {
  if (bytes <= MAX_SPIFFE_ID_BYTES) return;
  throw new IdentityError(
    'spiffe-id-too-long',
    `The SPIFFE ID has ${bytes} bytes: at most ${MAX_SPIFFE_ID_BYTES} are allowed.`,
  );
}

/** `path` starts with a slash. */
function refuseBadPath(path: string): void {
  for (const segment of path.slice(1).split('/')) refuseBadSegment(segment, path);
}

function refuseBadSegment(segment: string, whole: string): void {
  if (segment === '') {
    throw new IdentityError(
      'spiffe-id-path',
      `The path ${quote(whole)} has an empty segment: no "//" and no "/" at the end is allowed.`,
    );
  }
  if (segment === '.' || segment === '..') {
    throw new IdentityError(
      'spiffe-id-path',
      `The path ${quote(whole)} has the segment "${segment}": relative segments are not allowed.`,
    );
  }
  const bad = NOT_IN_SEGMENT.exec(segment);
  if (bad !== null) {
    throw new IdentityError(
      'spiffe-id-path',
      `The path ${quote(whole)} has ${quote(bad[0])}: only a-z, A-Z, 0-9, ".", "-" and "_" are allowed in a segment.`,
    );
  }
}
