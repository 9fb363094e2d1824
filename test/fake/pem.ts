import type { Made } from './ca.ts';

/** PEM of a leaf, what stands above it, and its key. */
export function credentialsOf(
  { der, privateKey }: Made,
  ...above: readonly Uint8Array[]
): { cert: string; key: string } {
  const block = (raw: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(raw)
      .toString('base64')
      .replaceAll(/(.{64})(?!$)/gu, '$1\n')}\n-----END CERTIFICATE-----\n`;
  return {
    cert: [der, ...above].map(block).join(''),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}
