export { Authority } from './authority.ts';
export { directoryKeyStore } from './directory-key-store.ts';
export { AuthorityError, type AuthorityErrorCode } from './errors.ts';
export { memoryKeyStore, type KeyStore, type StoredAuthority, type StoredRoot } from './key-store.ts';
export type { AuthorityOptions, IssueOptions } from './options.ts';
export { IssuedSvid, renewalTime, type IssuedChain } from './svid.ts';
export { parseStored, serializeStored } from './stored.ts';
export type { RootDescription } from './root.ts';
export type { RotationState, RotationStep } from './rotation.ts';
