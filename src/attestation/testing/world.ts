import { generateKeyPairSync, randomUUID } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { exportJWK, SignJWT } from 'jose';
import type { JSONWebKeySet, JWTPayload } from 'jose';
import { TrustDomain } from '../../identity/index.ts';
import { Mesh } from '../../mesh/index.ts';
import type { Pod, ServiceAccount } from '../../mesh/index.ts';
import { LocalAttestor } from '../index.ts';
import type { LocalAttestorOptions } from '../index.ts';

/** A mesh with one live pod, an issuer whose keys the attestor trusts, and a clock that tests turn. */

export const START_MS: number = Date.UTC(2026, 10, 22, 12);
export const ISSUER = 'https://kubernetes.default.svc.cluster.local';
export const AUDIENCE = 'countersign';

export const WEB: Pod = {
  kind: 'Pod',
  namespace: 'shop',
  name: 'web-1',
  uid: '11111111-1111-4111-8111-111111111111',
  labels: { app: 'web' },
  annotations: {},
  serviceAccount: 'web',
  nodeName: 'node-a',
  ips: ['10.0.0.7', 'fd00::7'],
  phase: 'Running',
  terminating: false,
};

export const WEB_ACCOUNT: ServiceAccount = {
  kind: 'ServiceAccount',
  namespace: 'shop',
  name: 'web',
  uid: '22222222-2222-4222-8222-222222222222',
  annotations: {},
};

export interface SigningKey {
  readonly id: string;
  readonly algorithm: 'RS256' | 'ES256';
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function newKey(algorithm: 'RS256' | 'ES256', id: string): SigningKey {
  const pair =
    algorithm === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { id, algorithm, ...pair };
}

/** Made once: RSA keys take their time. */
export const RSA_KEY: SigningKey = newKey('RS256', 'rsa');
export const EC_KEY: SigningKey = newKey('ES256', 'ec');
export const FOREIGN_KEY: SigningKey = newKey('RS256', 'rsa');

export async function jwksOf(...keys: readonly SigningKey[]): Promise<JSONWebKeySet> {
  const published = await Promise.all(
    keys.map(async ({ id, algorithm, publicKey }) => {
      const { kty, n, e, crv, x, y } = await exportJWK(publicKey);
      return { kid: id, alg: algorithm, use: 'sig', kty, n, e, crv, x, y };
    }),
  );
  // `undefined` members are as good as absent.
  return JSON.parse(JSON.stringify({ keys: published })) as JSONWebKeySet;
}

/** The payload that the API server would write for this pod. */
export function claimsOf(pod: Pod = WEB, account: ServiceAccount = WEB_ACCOUNT): JWTPayload {
  const now = START_MS / 1000;
  return {
    aud: [AUDIENCE],
    exp: now + 3600,
    iat: now,
    iss: ISSUER,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: pod.namespace,
      node: { name: pod.nodeName, uid: '33333333-3333-4333-8333-333333333333' },
      pod: { name: pod.name, uid: pod.uid },
      serviceaccount: { name: account.name, uid: account.uid },
    },
    nbf: now,
    sub: `system:serviceaccount:${pod.namespace}:${account.name}`,
  };
}

export async function sign(payload: JWTPayload, key: SigningKey = RSA_KEY): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg: key.algorithm, kid: key.id }).sign(key.privateKey);
}

export interface World {
  readonly mesh: Mesh;
  readonly attestor: LocalAttestor;
  /** Milliseconds since the epoch. */
  now: number;
}

export async function newWorld(options: Partial<LocalAttestorOptions> = {}): Promise<World> {
  const mesh = new Mesh({ rootNamespace: 'root' });
  mesh.update([
    { op: 'set', object: WEB_ACCOUNT },
    { op: 'set', object: WEB },
  ]);
  const clock = { now: START_MS };
  const attestor = new LocalAttestor({
    jwks: await jwksOf(RSA_KEY, EC_KEY),
    issuer: ISSUER,
    audience: AUDIENCE,
    trustDomain: TrustDomain.parse('cluster.local'),
    mesh,
    nowMs: () => clock.now,
    peerAddress: 'off',
    ...options,
  });
  return Object.assign(clock, { mesh, attestor });
}
