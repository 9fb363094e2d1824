import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';

/** About what is signed of a leaf certificate, of a certificate request, and of a projected token. */
const sizes = { leaf: 460, request: 160, token: 900 } as const;

/** The least work that an SVID for SDS can be: a P-256 key and a signature. */
export function keyAndSignature(): () => void {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const leaf = randomBytes(sizes.leaf);
  return () => {
    generateKeyPairSync('ec', { namedCurve: 'P-256' });
    sign('sha256', leaf, privateKey);
  };
}

/** The least work that an SVID for a request can be: a P-256 verification and a signature. */
export function verificationAndSignature(): () => void {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const leaf = randomBytes(sizes.leaf);
  const request = randomBytes(sizes.request);
  const signature = sign('sha256', request, privateKey);
  return () => {
    verify('sha256', request, publicKey, signature);
    sign('sha256', leaf, privateKey);
  };
}

/** What a new sidecar costs in cryptography besides its TLS handshake: a token, a key, a signature. */
export function tokenKeyAndSignature(): () => void {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const token = randomBytes(sizes.token);
  const signature = sign('sha256', token, privateKey);
  const rest = keyAndSignature();
  return () => {
    verify('sha256', token, publicKey, signature);
    rest();
  };
}
