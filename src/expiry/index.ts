export { judgeLink, noticeMs, span, worstFirst } from './judge.ts';
export { Links, type LinkSource } from './links.ts';
export type { Link, LinkFacts, LinkKind, LinkState, Term } from './types.ts';
