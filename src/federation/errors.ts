/** Why there is no newer bundle of a federated trust domain. Codes are stable; messages are for people and may change. */
export type FederationErrorCode =
  | 'unreachable'
  | 'timeout'
  | 'redirect-refused'
  | 'endpoint-refused'
  | 'status'
  | 'too-large'
  | 'malformed'
  | 'sequence'
  | 'shared-key'
  | 'state-unusable';

/** Says nothing in the other side's own words. */
export class FederationError extends Error {
  override readonly name = 'FederationError';
  readonly code: FederationErrorCode;

  constructor(code: FederationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The operating system's, OpenSSL's or Node's name of an error: short, and not chosen by the other side. */
export function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
