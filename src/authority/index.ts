export { Authority } from './authority.ts';
export { directoryKeyStore } from './directory-key-store.ts';
export { AuthorityError, type AuthorityErrorCode } from './errors.ts';
export { memoryKeyStore, type KeyStore, type StoredAuthority } from './key-store.ts';
export type { AuthorityOptions, IssueOptions } from './options.ts';
export { IssuedSvid, renewalTime, type IssuedChain } from './svid.ts';
