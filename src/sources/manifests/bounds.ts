import { isAlias, isMap, isScalar, isSeq } from 'yaml';
import type { Document, Node } from 'yaml';

/**
 * What one document may ask of its reader. Manifests written by people use a handful of aliases and ten levels;
 * a document built to blow up uses millions.
 */
const MAX_DEPTH = 256;
const MAX_ALIASES = 1_000;
/** Nodes that aliases add to what is written out. */
const MAX_ALIASED_NODES = 100_000;

/** Why a document is not read, and where. */
export interface Fault {
  /** In the text, from 0. */
  readonly offset: number;
  readonly message: string;
}

/**
 * What is wrong with a document that the YAML parser takes: a key that stands twice, too deep a nesting, aliases
 * that expand to too much. In one walk over what is written: the work is proportional to the text, while the
 * parser's own search for repeated keys grows with their square.
 */
export function faultOf(document: Document): Fault | undefined {
  const walk = new Walk();
  const nodes = walk.size(document.contents, 0);
  if (walk.fault !== undefined) return walk.fault;
  return nodes - walk.written > MAX_ALIASED_NODES
    ? { offset: 0, message: `its aliases expand to ${TOO_MUCH}` }
    : undefined;
}

const TOO_MUCH = `more than ${MAX_ALIASED_NODES} nodes; write out what is meant`;

class Walk {
  /** The first one. */
  fault: Fault | undefined;
  written = 0;
  /** Nodes under each anchor, aliases expanded; undefined: still being counted. */
  readonly #anchored = new Map<string, number | undefined>();
  #anchors = 0;
  #aliases = 0;

  /** Nodes of a subtree with its aliases expanded. */
  size(node: unknown, depth: number): number {
    if (this.fault !== undefined) return 0;
    if (isAlias(node)) return this.#aliased(node);
    if (!isScalar(node) && !isMap(node) && !isSeq(node)) return 0;
    if (depth > MAX_DEPTH) return this.#fail(node, `nested deeper than ${MAX_DEPTH} levels; write it flat`);
    this.written += 1;
    const { anchor } = node;
    if (anchor !== undefined) {
      this.#anchored.set(anchor, undefined);
      this.#anchors += 1;
      if (this.#anchors > MAX_ALIASES)
        return this.#fail(node, `more than ${MAX_ALIASES} anchors; write out what is meant`);
    }
    const keys = new Set<string>();
    let nodes = 1;
    for (const item of isScalar(node) ? [] : node.items) {
      if (isMap(node)) {
        const { key, value } = item as { key: unknown; value: unknown };
        this.#checkKey(key, keys);
        nodes += this.size(key, depth + 1) + this.size(value, depth + 1);
      } else nodes += this.size(item, depth + 1);
    }
    if (anchor !== undefined) this.#anchored.set(anchor, nodes);
    return nodes;
  }

  /** `<<` may stand more than once: its value is no text. */
  #checkKey(key: unknown, keys: Set<string>): void {
    if (!isScalar(key) || typeof key.value !== 'string') return;
    if (keys.has(key.value)) this.#fail(key, 'Map keys must be unique');
    keys.add(key.value);
  }

  #aliased(alias: Node & { readonly source: string }): number {
    this.#aliases += 1;
    if (this.#aliases > MAX_ALIASES)
      return this.#fail(alias, `at most ${MAX_ALIASES} aliases are allowed; write out what is meant`);
    const nodes = this.#anchored.get(alias.source);
    if (!this.#anchored.has(alias.source))
      return this.#fail(alias, 'an alias of no anchor before it; quote the value, or write it out');
    if (nodes === undefined) return this.#fail(alias, 'an alias inside of what it stands for; write it out');
    return nodes > MAX_ALIASED_NODES ? this.#fail(alias, `its aliases expand to ${TOO_MUCH}`) : nodes;
  }

  #fail(node: Node, message: string): number {
    this.fault ??= { offset: node.range?.[0] ?? 0, message };
    return 0;
  }
}
