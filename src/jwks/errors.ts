/** Why there are no new keys. Codes are stable; messages are for people and may change. */
export type JwksErrorCode =
  | 'uri-refused'
  | 'address-refused'
  | 'unreachable'
  | 'timeout'
  | 'redirect-refused'
  | 'status'
  | 'too-large'
  | 'malformed'
  | 'no-usable-key'
  | 'store-too-open'
  | 'store-unusable';

/** Says nothing in the server's own words, and never carries key material. */
export class JwksError extends Error {
  override readonly name = 'JwksError';
  readonly code: JwksErrorCode;

  constructor(code: JwksErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The operating system's, OpenSSL's or Node's name of an error: short, and not chosen by the other side. */
export function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
