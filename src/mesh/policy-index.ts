import { SelectorIndex } from './label-index.ts';
import type { MeshChange, ObjectKey, PolicyKind, PolicyOf, PolicySubject } from './types.ts';

/** The kinds that select pods by their labels. */
export const POLICY_KINDS: readonly PolicyKind[] = [
  'AuthorizationPolicy',
  'RequestAuthentication',
  'PeerAuthentication',
];

/** What policies a pod has, by kind. */
export class PolicyIndex {
  readonly #byKind: { readonly [K in PolicyKind]: SelectorIndex<PolicyOf<K>> };

  constructor(rootNamespace: string) {
    this.#byKind = {
      AuthorizationPolicy: new SelectorIndex(rootNamespace),
      RequestAuthentication: new SelectorIndex(rootNamespace),
      PeerAuthentication: new SelectorIndex(rootNamespace),
    };
  }

  /** Candidates looked at since the start. */
  get examined(): number {
    return POLICY_KINDS.reduce((sum, kind) => sum + this.#byKind[kind].examined, 0);
  }

  apply(change: MeshChange): void {
    switch (change.kind) {
      case 'AuthorizationPolicy':
        put(this.#byKind.AuthorizationPolicy, change.key, change.after?.policy);
        break;
      case 'RequestAuthentication':
        put(this.#byKind.RequestAuthentication, change.key, change.after?.policy);
        break;
      case 'PeerAuthentication':
        put(this.#byKind.PeerAuthentication, change.key, change.after?.policy);
        break;
      default:
    }
  }

  /** Those that select this subject, the root namespace's included; in no particular order. */
  matching<K extends PolicyKind>(kind: K, subject: PolicySubject): PolicyOf<K>[] {
    return this.#byKind[kind].matching(subject);
  }
}

function put<K extends PolicyKind>(
  index: SelectorIndex<PolicyOf<K>>,
  key: ObjectKey,
  policy: PolicyOf<K> | undefined,
): void {
  if (policy === undefined) index.delete(key);
  else index.set(key, policy);
}
