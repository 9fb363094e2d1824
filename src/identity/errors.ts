/** Why a value is not what it claims to be. Codes are stable; messages are for people and may change. */
export type IdentityErrorCode =
  | 'trust-domain-empty'
  | 'trust-domain-too-long'
  | 'trust-domain-character'
  | 'spiffe-id-scheme'
  | 'spiffe-id-path'
  | 'spiffe-id-too-long'
  | 'spiffe-id-not-workload'
  | 'der-malformed'
  | 'certificate-malformed'
  | 'certificate-profile'
  | 'certificate-expired'
  | 'certificate-not-yet-valid'
  | 'chain-empty'
  | 'chain-too-long'
  | 'chain-untrusted'
  | 'chain-constraint'
  | 'bundle-malformed'
  | 'bundle-missing'
  | 'bundle-empty';

/** A text, certificate, chain or bundle that the SPIFFE standards do not allow. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  readonly code: IdentityErrorCode;

  constructor(code: IdentityErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Untrusted text, safe to put into a message: quoted, escaped, cut. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 96 ? `${text.slice(0, 96)}...` : text);
}
