export type AttestationErrorCode =
  | 'CONFIGURATION'
  | 'ISSUER_KEY_UNREADABLE'
  | 'ISSUER_KEY_CORRUPTED'
  | 'ISSUER_KEY_TOO_OPEN'
  | 'ISSUER_KEY_NOT_WRITABLE'
  | 'TOKEN_REQUEST';

/** What an operator must put right. A caller that is not who it says it is gets a `Refusal` instead. */
export class AttestationError extends Error {
  override readonly name = 'AttestationError';
  readonly code: AttestationErrorCode;

  constructor(code: AttestationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
