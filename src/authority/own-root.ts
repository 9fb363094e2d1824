import type { TrustDomain } from '../identity/index.ts';
import { X509Certificate } from 'node:crypto';
import { keyIdOf, signedCertificate, signingCertificateBody, signingSubject } from './certificate.ts';
import { wholeSecond } from './intermediate.ts';
import type { StoredAuthority } from './key-store.ts';
import { randomSerial } from './keys.ts';
import { DEFAULT_ROOT_TTL_MS } from './options.ts';
import { BACKDATE_MS } from './root.ts';
import type { SigningKey } from './signature.ts';

/**
 * The root of a key that is in a token: the one that is kept, so that it is made only once, or a new one, signed by
 * the key itself.
 * @returns DER
 * @throws AuthorityError `signer-unavailable`
 */
export async function rootOfKey(
  key: SigningKey,
  stored: StoredAuthority | undefined,
  trustDomain: TrustDomain,
  nowMs: number,
): Promise<Buffer> {
  const kept = stored?.bundle.x509Authorities.find((der) =>
    new X509Certificate(der).publicKey.equals(key.publicKey),
  );
  if (kept !== undefined) return kept;
  const serial = randomSerial();
  const publicKeyInfo = key.publicKey.export({ format: 'der', type: 'spki' });
  // Of the whole SubjectPublicKeyInfo: an identifier may be any that differs from key to key.
  const keyId = keyIdOf(publicKeyInfo);
  const name = signingSubject('Countersign Root CA', serial);
  const body = signingCertificateBody(
    {
      issuer: { name, keyId },
      serial,
      subject: name,
      notBeforeMs: wholeSecond(nowMs - BACKDATE_MS),
      notAfterMs: wholeSecond(nowMs + DEFAULT_ROOT_TTL_MS),
      publicKeyInfo,
      keyId,
      uri: trustDomain.id.uri,
      pathLength: undefined,
    },
    key.algorithm,
  );
  return signedCertificate(body, key.algorithm, await key.sign(body));
}
