import { X509Certificate } from 'node:crypto';
import { profile } from '../identity/index.ts';
import { signedCertificate, signingCertificateBody } from './certificate.ts';
import type { StoredAuthority } from './key-store.ts';
import { randomSerial } from './keys.ts';
import { subjectKeyId, type Root } from './root.ts';

/**
 * A root's key, certified by another root: who has only the other one can still verify what the first one signs.
 *
 * Envoy's gRPC client reads the file with the control plane's roots once. Without this, an Envoy that runs longer
 * than a rotation would not know its control plane any more.
 */
export interface CrossCertificate {
  /** Fingerprint of the root whose key it is. */
  readonly of: string;
  /** Fingerprint of the root that it leads to. */
  readonly by: string;
  /** DER. */
  readonly certificate: Buffer;
  /** What signed it, and so on up to that root, which is not in it; absent: the root itself signed it. */
  readonly above?: readonly Buffer[] | undefined;
}

/**
 * As long as what signs it.
 * @param of the root whose key it is to be, and `below`: how many signing certificates follow it in its chains
 * @returns undefined where the path length of what signs allows no such chain
 * @throws AuthorityError `signer-unavailable`
 */
export async function crossSign(
  of: { readonly certificate: Buffer; readonly fingerprint: string; readonly below: number },
  by: Root,
  uri: string,
): Promise<CrossCertificate | undefined> {
  if (by.pathLength !== undefined && by.pathLength < of.below + 1) return undefined;
  const certified = profile(of.certificate);
  const { algorithm } = by.key;
  const body = signingCertificateBody(
    {
      issuer: by.issuer,
      serial: randomSerial(),
      subject: certified.certificate.subject,
      notBeforeMs: by.notBeforeMs,
      notAfterMs: by.notAfterMs,
      publicKeyInfo: new X509Certificate(of.certificate).publicKey.export({ format: 'der', type: 'spki' }),
      keyId: subjectKeyId(certified),
      uri,
      pathLength: undefined,
    },
    algorithm,
  );
  const certificate = signedCertificate(body, algorithm, await by.key.sign(body));
  return {
    of: of.fingerprint,
    by: by.fingerprint,
    certificate,
    ...(by.chain.length > 0 && { above: by.chain }),
  };
}

/** What leads from the signing root back to its predecessors, nearest first. */
export function crossChain(crosses: StoredAuthority['crosses'] = [], signing: string): readonly Buffer[] {
  const chain: Buffer[] = [];
  // Each is used once, so that a ring ends too.
  const left = [...crosses];
  for (let at = signing; ;) {
    const index = left.findIndex(({ of }) => of === at);
    const [next] = index === -1 ? [] : left.splice(index, 1);
    if (next === undefined) return chain;
    chain.push(next.certificate, ...(next.above ?? []));
    at = next.by;
  }
}
