export { Authority, type CsrRequest, type SignerDescription } from './authority.ts';
export { directoryKeyStore } from './directory-key-store.ts';
export { AuthorityError, type AuthorityErrorCode } from './errors.ts';
export { memoryKeyStore, type KeyStore, type StoredAuthority, type StoredRoot } from './key-store.ts';
export type { AuthorityOptions, IssueOptions } from './options.ts';
export { IssuedSvid, renewalTime, type IssuedChain } from './svid.ts';
export { parseStored, serializeStored } from './stored.ts';
export { refuseOtherLine } from './lineage.ts';
export { describeRoot, type RootDescription } from './root.ts';
export type { RotationState, RotationStep } from './rotation.ts';
export type { SigningObserver } from './issuing.ts';
export { checkCa, readCertificates, type CaParts, type CaRules, type PluggedCa } from './plugged-ca.ts';
export { algorithmOf, memoryKey, signatureAlgorithm, type SigningKey } from './signature.ts';
export {
  caParts,
  digestOf,
  readCaFile,
  readCaFiles,
  refuseOpenKey,
  type CaFiles,
  type CaMaterial,
} from './ca-material.ts';
export { DEFAULT_ROOT_TTL_MS } from './options.ts';
export { recovered, type Recovery, type RecoveryOptions } from './recovery.ts';
export { rootOfKey } from './own-root.ts';
