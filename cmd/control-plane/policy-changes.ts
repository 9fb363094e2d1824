import { isDeepStrictEqual } from 'node:util';
import {
  POLICY_KINDS,
  type Mesh,
  type MeshChange,
  type MeshKind,
  type MeshNotice,
  type PolicyKind,
} from '../../src/mesh/index.ts';
import type {
  AuthorizationPolicy,
  PeerAuthentication,
  RequestAuthentication,
} from '../../src/policy/index.ts';
import type { LiveSettings } from './live-settings.ts';

export type Document = AuthorizationPolicy | RequestAuthentication | PeerAuthentication;

/** What a policy is known by. */
export interface Named {
  readonly kind: PolicyKind;
  readonly namespace: string;
  readonly key: string;
}

export function named(mesh: Mesh, kind: PolicyKind): (readonly [Document, Named])[] {
  return [...mesh.list(kind)].map(({ policy, namespace, name }) => [
    policy,
    { kind, namespace, key: `${namespace}/${name}` },
  ]);
}

export function idOf(document: Pick<Named, 'kind' | 'key'> | undefined): string {
  return document === undefined ? '' : `${document.kind} ${document.key}`;
}

/** What is to be judged anew: policies that changed, and all of the namespaces in which anything did. */
export class Changed {
  readonly #settings: LiveSettings;
  readonly #ids = new Set<string>();
  readonly #namespaces = new Set<string>();
  #all = false;

  constructor(settings: LiveSettings) {
    this.#settings = settings;
  }

  get empty(): boolean {
    return !this.#all && this.#ids.size === 0 && this.#namespaces.size === 0;
  }

  add({ changes }: MeshNotice): void {
    for (const change of changes) {
      if (meansNothing(change)) continue;
      const { kind, key } = change;
      const [namespace = ''] = key.split('/');
      if (isPolicy(kind)) this.#ids.add(idOf({ kind, key }));
      // Whoever names a caller may name this one.
      if (kind === 'ServiceAccount' || kind === 'Namespace') this.#all = true;
      else this.#namespaces.add(namespace);
    }
  }

  addAll(): void {
    this.#all = true;
  }

  /** Their ids; those that are gone included. */
  take(documents: Iterable<Named>): ReadonlySet<string> {
    const { rootNamespace } = this.#settings.current;
    const all = this.#all || this.#namespaces.has(rootNamespace);
    const ids = new Set(this.#ids);
    for (const document of documents) {
      const { namespace } = document;
      if (all || namespace === rootNamespace || this.#namespaces.has(namespace)) ids.add(idOf(document));
    }
    this.#ids.clear();
    this.#namespaces.clear();
    this.#all = false;
    return ids;
  }
}

/** Pods tell of their phase all day; who they are stays. */
function meansNothing({ kind, before, after }: MeshChange): boolean {
  if (before === undefined || after === undefined) return false;
  if (kind === 'ServiceAccount' || kind === 'Namespace') return true;
  return kind === 'Pod' && isDeepStrictEqual(before.labels, after.labels);
}

function isPolicy(kind: MeshKind): kind is PolicyKind {
  return (POLICY_KINDS as readonly string[]).includes(kind);
}
