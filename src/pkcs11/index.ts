export { TokenError, type TokenErrorCode } from './errors.ts';
export { TokenKey, type TokenKeyOptions } from './token-key.ts';
export { isTokenUri, parseTokenUri, type TokenUri } from './uri.ts';
