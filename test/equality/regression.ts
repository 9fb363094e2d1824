import { readdirSync, readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import type { Asked, AuthenticationDocument, PolicyDocument, PolicySet, Verdict } from './case.ts';
import { SVIDS } from './world.ts';

/** A pair on which the two judges once differed, and what both must say. */
export interface Regression {
  readonly name: string;
  readonly set: PolicySet;
  readonly cases: readonly { readonly asked: Asked; readonly verdict: Verdict }[];
}

/** A question as the files write it: what is left out is as in {@link PLAIN}. */
type Written = Partial<Asked>;

export const PLAIN: Asked = {
  peer: { kind: 'svid', id: SVIDS[0] ?? '' },
  ipv6: false,
  source: '127.77.1.1',
  sni: undefined,
  http: 1,
  method: 'GET',
  path: '/',
  host: 'a',
  headers: [],
  forwardedFor: undefined,
  proxied: undefined,
  tokens: [],
  claims: undefined,
  metadata: undefined,
  authorizer: undefined,
};

interface File {
  readonly name: string;
  readonly protocol?: PolicySet['protocol'];
  readonly defaultAction?: PolicySet['defaultAction'];
  readonly portKnown?: boolean;
  readonly aliases?: boolean;
  readonly quarantine?: PolicySet['quarantine'];
  readonly ended?: boolean;
  /** `jwtRules` of a document each. */
  readonly authentications?: readonly (readonly Readonly<Record<string, unknown>>[])[];
  /** A document, or its spec alone, of the policy `p<index>` in namespace `a`. */
  readonly policies: readonly (PolicyDocument | PolicyDocument['spec'])[];
  readonly cases: readonly { readonly asked: Written; readonly verdict: Verdict }[];
}

const folder = new URL('regressions/', import.meta.url);

/** Every case of `regressions/*.yaml`. */
export function regressions(): Regression[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .flatMap((name) => parseAllDocuments(readFileSync(new URL(name, folder), 'utf8')))
    .map((document) => readFile(document.toJS() as File));
}

function readFile({ name, policies, cases, authentications, ...file }: File): Regression {
  return {
    name,
    set: {
      protocol: file.protocol ?? 'http',
      defaultAction: file.defaultAction ?? 'deny',
      portKnown: file.portKnown ?? false,
      aliases: file.aliases ?? false,
      ...(file.quarantine && { quarantine: file.quarantine }),
      ended: file.ended ?? false,
      ...(authentications && { authentications: authentications.map(asAuthentication) }),
      documents: policies.map((policy, index) => ('kind' in policy ? policy : asDocument(policy, index))),
    },
    cases: cases.map(({ asked, verdict }) => ({ asked: { ...PLAIN, ...asked }, verdict })),
  };
}

function asDocument(spec: PolicyDocument['spec'], index: number): PolicyDocument {
  return {
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `p${index}`, namespace: 'a' },
    spec,
  };
}

function asAuthentication(
  jwtRules: readonly Readonly<Record<string, unknown>>[],
  index: number,
): AuthenticationDocument {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: `r${index}`, namespace: 'a' },
    spec: { jwtRules },
  };
}
