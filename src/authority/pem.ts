/** One PEM block (RFC 7468) with lines of 64 characters, ending with a newline. */
export function pemBlock(label: string, der: Buffer): string {
  const base64 = der.toString('base64');
  let text = `-----BEGIN ${label}-----\n`;
  for (let at = 0; at < base64.length; at += 64) text += `${base64.slice(at, at + 64)}\n`;
  return `${text}-----END ${label}-----\n`;
}
