/** gRPC's status codes, of those that are said here. */
export const Status = {
  DEADLINE_EXCEEDED: 4,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
} as const;

/** Before each message: whether it is compressed, and its length. */
export const PREFIX_BYTES = 5;

const unitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** `grpc-timeout`, in ms; undefined: it is none. */
export function parseTimeout(text: string): number | undefined {
  const unit = unitsMs[text.slice(-1)];
  return unit !== undefined && /^\d{1,8}.$/u.test(text) ? Number(text.slice(0, -1)) * unit : undefined;
}

/** `application/grpc`, also `+proto`, and what follows a semicolon. */
export function isGrpc(contentType: string | undefined): boolean {
  return (
    contentType === 'application/grpc' || /^application\/grpc(?:\+proto)?(?:;|$)/u.test(contentType ?? '')
  );
}

/** Longer ones are cut: they are to be read by people. */
const MAX_DETAILS_BYTES = 2_048;

/** `grpc-message`: UTF-8, of which all but printable ASCII, and the percent sign, are percent-encoded. */
export function percentEncoded(details: string): string {
  if (/^[ -$&-~]*$/u.test(details) && details.length <= MAX_DETAILS_BYTES) return details;
  let encoded = '';
  for (const byte of Buffer.from(details).subarray(0, MAX_DETAILS_BYTES)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
