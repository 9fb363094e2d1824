import { IdentityError, SpiffeId, TrustBundle, TrustDomain } from '../identity/index.ts';
import type { Findings } from './findings.ts';
import { describe, quote, readFields, readList, type Fields } from './shape.ts';
import type { FederatedTrustDomain } from './types.ts';

const FIELDS = ['trustDomain', 'bundleEndpointURL', 'bundleEndpointProfile', 'trustDomainBundle'];
/** Each Envoy holds the bundles of all. */
const MAX_DOMAINS = 64;

/**
 * `federation` of a mesh's configuration: the trust domains that are trusted beside the own, in the words that
 * SPIRE's operators know (SPIFFE_Federation sections 5.1 and 5.2).
 */
export function readFederation(value: unknown, path: string, findings: Findings): FederatedTrustDomain[] {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return [];
  const list = readList(value, path, findings, '') ?? [];
  if (list.length > MAX_DOMAINS)
    findings.error(path, `at most ${MAX_DOMAINS} are allowed, found ${list.length}`);
  const domains = new Map<string, FederatedTrustDomain>();
  for (const [index, entry] of list.slice(0, MAX_DOMAINS).entries()) {
    const at = `${path}[${index}]`;
    const fields = readFields(entry, at, { known: FIELDS }, findings);
    const domain = fields && readDomain(fields, at, findings);
    if (domain === undefined) continue;
    if (domains.has(domain.trustDomain))
      findings.error(`${at}.trustDomain`, `${quote(domain.trustDomain)} is there twice`);
    domains.set(domain.trustDomain, domain);
  }
  return [...domains.values()];
}

function readDomain(fields: Fields, path: string, findings: Findings): FederatedTrustDomain | undefined {
  const trustDomain = checked(`${path}.trustDomain`, findings, () =>
    TrustDomain.parse(textOf(fields['trustDomain'])),
  );
  const url = readUrl(fields['bundleEndpointURL'], `${path}.bundleEndpointURL`, findings);
  const profile = readProfile(fields['bundleEndpointProfile'], `${path}.bundleEndpointProfile`, findings);
  if (trustDomain === undefined || url === undefined || profile === undefined) return undefined;
  const at = `${path}.trustDomainBundle`;
  const bundle = readBundle(fields['trustDomainBundle'], trustDomain, at, findings);
  const own =
    profile.type === 'https_spiffe' &&
    SpiffeId.parse(profile.endpointSpiffeId).trustDomain.name === trustDomain.name;
  if (own && fields['trustDomainBundle'] === undefined) {
    findings.error(
      at,
      'missing: an endpoint that proves itself with its own trust domain is trusted by the bundle that its operator gave you',
    );
  }
  return {
    trustDomain: trustDomain.name,
    url,
    profile,
    ...(bundle !== undefined && { bootstrapBundle: bundle }),
  };
}

function readUrl(value: unknown, path: string, findings: Findings): string | undefined {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (url?.protocol === 'https:' && url.username + url.password === '') return url.href;
  // What stands before an @ may be a password.
  findings.error(path, 'expected an https URL without user name and password');
  return undefined;
}

function readProfile(
  value: unknown,
  path: string,
  findings: Findings,
): FederatedTrustDomain['profile'] | undefined {
  const fields = readFields(value, path, { known: ['type', 'endpointSPIFFEID'] }, findings);
  if (fields === undefined) return undefined;
  const { type, endpointSPIFFEID: id } = fields;
  if (type === 'https_web' && id === undefined) return { type };
  if (type === 'https_web') {
    findings.error(`${path}.endpointSPIFFEID`, 'is for https_spiffe: remove it, or choose that type');
    return undefined;
  }
  if (type !== 'https_spiffe') {
    findings.error(`${path}.type`, `expected https_web or https_spiffe, found ${describe(type)}`);
    return undefined;
  }
  const endpoint = checked(`${path}.endpointSPIFFEID`, findings, () => SpiffeId.parse(textOf(id)));
  if (endpoint === undefined) return undefined;
  if (endpoint.path !== '') return { type, endpointSpiffeId: endpoint.uri };
  findings.error(`${path}.endpointSPIFFEID`, 'expected the SPIFFE ID of a workload, with a path');
  return undefined;
}

function readBundle(
  value: unknown,
  trustDomain: TrustDomain,
  path: string,
  findings: Findings,
): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string') {
    findings.error(
      path,
      `expected the JSON of a SPIFFE bundle as a text (write it behind |), found ${describe(value)}`,
    );
    return undefined;
  }
  const bundle = checked(path, findings, () => TrustBundle.parse(trustDomain, value));
  if (bundle?.x509Authorities.length === 0)
    findings.warn(path, 'has no root: nobody of this trust domain is trusted until one is fetched');
  return bundle && value;
}

function checked<T>(path: string, findings: Findings, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    findings.error(path, error.message);
    return undefined;
  }
}

/** What is no text is refused as an empty one is. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
