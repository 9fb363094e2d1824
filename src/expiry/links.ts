import { judgeLink, worstFirst } from './judge.ts';
import type { Link, LinkFacts, LinkKind } from './types.ts';

/** What the links are now, as one owner knows them. Called each time that somebody asks. */
export type LinkSource = () => readonly LinkFacts[];

/** What ends with the root, and comes back with it. */
const BELOW_ROOT: ReadonlySet<LinkKind> = new Set([
  'intermediate',
  'serving',
  'webhook',
  'bundle-endpoint',
  'svid',
]);

function belowEnded(link: Link): Link {
  return BELOW_ROOT.has(link.kind) && link.run !== ''
    ? { ...link, run: 'first what the root asks for' }
    : link;
}

/** Every link that the mesh hangs on: whoever owns one adds it here, and whoever tells of them asks here. */
export class Links {
  readonly #nowMs: () => number;
  readonly #settleMs: number;
  readonly #sources: LinkSource[] = [];

  /** @param options.settleMs the life of an SVID */
  constructor(options: { readonly nowMs: () => number; readonly settleMs: number }) {
    this.#nowMs = options.nowMs;
    this.#settleMs = options.settleMs;
  }

  add(source: LinkSource): void {
    this.#sources.push(source);
  }

  /** All of them as they stand now, the worst first. */
  judged(): readonly Link[] {
    const nowMs = this.#nowMs();
    const links = this.#sources
      .flatMap((source) => source())
      .map((facts) => judgeLink(facts, nowMs, this.#settleMs))
      .toSorted(worstFirst);
    const ended = links.some(({ kind, state }) => kind === 'root' && state === 'expired');
    return ended ? links.map(belowEnded) : links;
  }
}
