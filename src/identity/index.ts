export { IdentityError, type IdentityErrorCode } from './errors.ts';
export {
  MAX_SPIFFE_ID_BYTES,
  MAX_TRUST_DOMAIN_BYTES,
  SpiffeId,
  TrustDomain,
  type WorkloadName,
} from './spiffe-id.ts';
export {
  parseBundleMap,
  TrustBundle,
  type SpiffeBundleDocument,
  type SpiffeBundleKey,
  type TrustBundleParts,
} from './trust-bundle.ts';
export { DerReader, oidText, TAG, wholeBytes, type DerValue } from './der.ts';
export {
  checkLeaf,
  checkSigningCertificate,
  profile,
  signerTrustDomain,
  type Profiled,
} from './svid-profile.ts';
export {
  isPodUid,
  issueStamp,
  nodeTag,
  subjectIssuedAt,
  subjectOfNode,
  subjectOfPod,
  SUBJECTS_END,
  subjectText,
  type SvidHolder,
} from './svid-subject.ts';
export { verifySvid, type VerifySvidInput } from './verify-svid.ts';
