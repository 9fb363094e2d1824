import {
  parseAuthorizationPolicy,
  parsePeerAuthentication,
  parseRequestAuthentication,
  type Issue,
  type ParseOptions,
} from '../policy/index.ts';
import type { PolicyKind, PolicyObject } from './types.ts';

/** What a document of the policy language comes to. */
export interface ReadPolicy {
  /** Undefined: it has errors. */
  readonly object: PolicyObject | undefined;
  readonly issues: readonly Issue[];
}

const READERS: Readonly<Record<PolicyKind, (document: unknown, options: ParseOptions) => ReadPolicy>> = {
  AuthorizationPolicy: (document, options) => {
    const { issues, ...parsed } = parseAuthorizationPolicy(document, options);
    return { issues, object: parsed.ok ? objectOf('AuthorizationPolicy', parsed.policy) : undefined };
  },
  RequestAuthentication: (document) => {
    const { issues, ...parsed } = parseRequestAuthentication(document);
    return { issues, object: parsed.ok ? objectOf('RequestAuthentication', parsed.policy) : undefined };
  },
  PeerAuthentication: (document, options) => {
    const { issues, ...parsed } = parsePeerAuthentication(document, options);
    return { issues, object: parsed.ok ? objectOf('PeerAuthentication', parsed.policy) : undefined };
  },
};

/** Every kind of the policy language. */
export const POLICY_KINDS: readonly PolicyKind[] = [
  'AuthorizationPolicy',
  'RequestAuthentication',
  'PeerAuthentication',
];

/** A document of this kind, as an object of the mesh. Never throws. */
export function readPolicy(kind: PolicyKind, document: unknown, options: ParseOptions): ReadPolicy {
  return READERS[kind](document, options);
}

/** The same policy under another name and digest. */
export function renamedPolicy(object: PolicyObject, name: string, digest: string): PolicyObject {
  switch (object.kind) {
    case 'AuthorizationPolicy':
      return { ...object, name, policy: { ...object.policy, name, digest } };
    case 'RequestAuthentication':
      return { ...object, name, policy: { ...object.policy, name, digest } };
    default:
      return { ...object, name, policy: { ...object.policy, name, digest } };
  }
}

function objectOf<K extends PolicyKind, P extends { readonly namespace: string; readonly name: string }>(
  kind: K,
  policy: P,
): { readonly kind: K; readonly namespace: string; readonly name: string; readonly policy: P } {
  return { kind, namespace: policy.namespace, name: policy.name, policy };
}
