/**
 * - `XDS_SCHEMA`: the descriptor that the codec was given lacks a message or field of the discovery API.
 * - `XDS_MESSAGE_TOO_LARGE`: a request is over `maxMessageBytes`.
 * - `XDS_MESSAGE_MALFORMED`: a request is not a protobuf message of the type that the method takes.
 */
export type DiscoveryErrorCode = 'XDS_SCHEMA' | 'XDS_MESSAGE_TOO_LARGE' | 'XDS_MESSAGE_MALFORMED';

export class DiscoveryError extends Error {
  override readonly name: string = 'DiscoveryError';
  readonly code: DiscoveryErrorCode;

  constructor(code: DiscoveryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
