import type { status } from '@grpc/grpc-js';

export type OperatorStatus = keyof Pick<
  typeof status,
  'NOT_FOUND' | 'FAILED_PRECONDITION' | 'INVALID_ARGUMENT' | 'PERMISSION_DENIED' | 'UNAVAILABLE' | 'INTERNAL'
>;

/** An answer of the operator API that is not what was asked for; the message is for people. */
export class OperatorError extends Error {
  readonly code: OperatorStatus;

  constructor(code: OperatorStatus, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
