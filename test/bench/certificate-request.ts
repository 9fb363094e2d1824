import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';

export interface RequestKeys {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** What a request deviates in. */
export interface RequestDeviation {
  readonly keys?: RequestKeys;
  /** Signs in place of the key's own. */
  readonly signer?: KeyObject;
}

/** Signature algorithms with SHA-256, as DER. */
const algorithms = {
  ec: Buffer.from('06082a8648ce3d040302', 'hex'),
  rsa: Buffer.from('06092a864886f70d01010b0500', 'hex'),
} as const;

/**
 * A PKCS#10 request (RFC 2986) with an empty subject, as PEM; its key is P-256 unless told otherwise. Written by
 * hand, so that measuring the authority brings in no second certificate library, and so that it can be wrong.
 */
export function requestPem({
  keys = generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  signer = keys.privateKey,
}: RequestDeviation = {}): string {
  const version = Buffer.of(0x02, 0x01, 0x00);
  const publicKeyInfo = keys.publicKey.export({ type: 'spki', format: 'der' });
  const content = tlv(0x30, version, tlv(0x30), publicKeyInfo, tlv(0xa0));
  const algorithm = tlv(0x30, signer.asymmetricKeyType === 'rsa' ? algorithms.rsa : algorithms.ec);
  const signature = sign('sha256', content, signer);
  return pem(tlv(0x30, content, algorithm, tlv(0x03, Buffer.of(0), signature)));
}

/** @param der anything, as the body of a request's block */
export function pem(der: Buffer): string {
  const lines = der
    .toString('base64')
    .replaceAll(/(.{64})/gu, '$1\n')
    .trimEnd();
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines}\n-----END CERTIFICATE REQUEST-----\n`;
}

/** DER: tag, length, content; all of it shorter than 64 KiB. */
function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : undefined;
  return Buffer.concat([Buffer.from(head ?? [tag, 0x82, length >> 8, length & 0xff]), content]);
}
