export type QuarantineErrorCode =
  /** What an operator asks for cannot be. */
  | 'entry-invalid'
  | 'entry-unknown'
  | 'too-many'
  /** What was kept cannot be read. */
  | 'ledger-malformed';

export class QuarantineError extends Error {
  override readonly name = 'QuarantineError';
  readonly code: QuarantineErrorCode;

  constructor(code: QuarantineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
