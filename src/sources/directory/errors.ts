export type DirectoryErrorCode =
  | 'DIRECTORY_UNREADABLE'
  | 'STATE_UNREADABLE'
  | 'STATE_CORRUPTED'
  | 'STATE_NOT_WRITABLE';

/** Why the directory cannot be a source at all. What is wrong with single documents is a `Problem`. */
export class DirectoryError extends Error {
  override readonly name = 'DirectoryError';
  readonly code: DirectoryErrorCode;

  constructor(code: DirectoryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
