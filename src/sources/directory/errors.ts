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

/** Whether the operating system's error has one of these codes (`ENOENT` ...). */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return (
    error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code)
  );
}
