import type { TokenErrorCode } from './errors.ts';
import type { TokenKeyInfo } from './session.ts';
import type { TokenUri } from './uri.ts';

/** To the process that holds the token, one at a time. */
export type TokenRequest =
  | { readonly kind: 'open'; readonly uri: TokenUri }
  | { readonly kind: 'sign'; readonly data: string }
  | { readonly kind: 'check' };

/** Bytes are base64. */
export type TokenReply =
  | { readonly kind: 'opened'; readonly info: TokenKeyInfo }
  | { readonly kind: 'signed'; readonly signature: string }
  | { readonly kind: 'checked' }
  | { readonly kind: 'failed'; readonly code: TokenErrorCode; readonly message: string };
