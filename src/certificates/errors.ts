import type { RefusedField, RequestRefusal } from './types.ts';

/** A request whose sender is proven, and which is refused for what it says. */
export class RequestError extends Error implements RequestRefusal {
  override readonly name = 'RequestError';
  readonly code = 'CERTIFICATE_REQUEST';
  readonly field: RefusedField;

  constructor(field: RefusedField, message: string, options?: ErrorOptions) {
    super(message, options);
    this.field = field;
  }

  get detail(): string {
    return this.message;
  }
}
