/** Why the authority refuses. Codes are stable; messages are for people and may change. */
export type AuthorityErrorCode =
  | 'options-invalid'
  | 'id-foreign'
  | 'id-without-path'
  | 'name-invalid'
  | 'ttl-invalid'
  | 'csr-malformed'
  | 'csr-signature'
  | 'csr-algorithm'
  | 'key-refused'
  | 'root-expired'
  | 'ca-unreadable'
  | 'ca-too-open'
  | 'ca-malformed'
  | 'ca-key-refused'
  | 'ca-key-mismatch'
  | 'ca-not-authority'
  | 'ca-foreign'
  | 'ca-untrusted'
  | 'ca-path-length'
  | 'ca-not-valid'
  | 'ca-constrained'
  | 'ca-missing'
  | 'ca-replaced'
  | 'signer-unavailable'
  | 'rotation-refused'
  | 'recovery-refused'
  | 'root-lost'
  | 'self-check-failed'
  | 'closed'
  | 'suspended'
  | 'root-outdated'
  | 'root-replaced'
  | 'store-unreadable'
  | 'store-unwritable'
  | 'store-too-open'
  | 'store-corrupted'
  | 'store-conflict'
  | 'store-foreign';

/** A refusal of the authority or of its key store. Never carries key material. */
export class AuthorityError extends Error {
  override readonly name = 'AuthorityError';
  readonly code: AuthorityErrorCode;

  constructor(code: AuthorityErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
