import { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import { PemConverter, SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';

/** A self-signed certificate for a TLS server; all PEM. */
export interface ServerCredentials {
  readonly cert: string;
  readonly key: string;
  /** What verifies `cert`: itself. */
  readonly ca: string;
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

/** For servers of tests that are no part of the mesh. Valid for an hour around now. */
export async function serverCredentials(dnsName: string): Promise<ServerCredentials> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${dnsName}`,
      keys,
      signingAlgorithm: P256,
      notBefore: new Date(Date.now() - HOUR_MS),
      notAfter: new Date(Date.now() + HOUR_MS),
      extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: dnsName }])],
    },
    webcrypto,
  );
  const cert = certificate.toString('pem');
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { cert, ca: cert, key: PemConverter.encode(pkcs8, 'PRIVATE KEY') };
}
