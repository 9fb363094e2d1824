/** Why a token cannot be used. Codes are stable; messages are for people and may change. */
export type TokenErrorCode =
  | 'uri-malformed'
  | 'module-unusable'
  | 'token-missing'
  | 'pin-refused'
  | 'key-missing'
  | 'key-exposed'
  | 'key-refused'
  | 'token-failed'
  | 'token-slow';

/** A fault of a token, its module or its URI. Never carries a PIN. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
  readonly code: TokenErrorCode;

  constructor(code: TokenErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
