import { generateKeyPairSync } from 'node:crypto';
import {
  parsePeerAuthentication,
  parseRequestAuthentication,
  renderIssues,
  type PeerAuthentication,
  type RequestAuthentication,
} from '../index.ts';

/** A JWKS with one public key, made anew. */
export function someJwks(): string {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] });
}

export function requestAuthentication(
  jwtRules: readonly object[],
  metadata: object = {},
  selector?: Readonly<Record<string, string>>,
): RequestAuthentication {
  const parsed = parseRequestAuthentication({
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'tokens', namespace: 'shop', ...metadata },
    spec: { ...(selector && { selector: { matchLabels: selector } }), jwtRules },
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
}

export function peerAuthentication(
  spec: object,
  metadata: object = {},
  selector?: Readonly<Record<string, string>>,
): PeerAuthentication {
  const parsed = parsePeerAuthentication({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'peers', namespace: 'shop', ...metadata },
    spec: { ...(selector && { selector: { matchLabels: selector } }), ...spec },
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
}
