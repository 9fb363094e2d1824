import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';

/**
 * A PKCS#10 request (RFC 2986) with an empty subject and a P-256 key, as PEM. Written by hand, so that measuring
 * the authority brings in no second certificate library.
 */
export function requestPem(): string {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const version = Buffer.of(0x02, 0x01, 0x00);
  const content = tlv(0x30, version, tlv(0x30), publicKey, tlv(0xa0));
  const ecdsaWithSha256 = tlv(0x30, Buffer.from('06082a8648ce3d040302', 'hex'));
  const signature = sign('sha256', content, createPrivateKey(privateKey));
  const der = tlv(0x30, content, ecdsaWithSha256, tlv(0x03, Buffer.of(0), signature));
  const lines = der.toString('base64').replaceAll(/(.{64})/gu, '$1\n');
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines}\n-----END CERTIFICATE REQUEST-----\n`;
}

/** DER: tag, length, content; all of it shorter than 64 KiB. */
function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : undefined;
  return Buffer.concat([Buffer.from(head ?? [tag, 0x82, length >> 8, length & 0xff]), content]);
}
