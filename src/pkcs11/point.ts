/**
 * Some modules give the point, and some the OCTET STRING around it that the standard asks for. Both begin with 0x04, so
 * the length tells: a point of P-256 or P-384 is one byte and two numbers.
 */
export function pointOf(given: Buffer): Buffer {
  return given.length === 67 || given.length === 99 ? given.subarray(2) : given;
}
