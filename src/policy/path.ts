/**
 * Request paths as Envoy's connection manager judges them with `normalize_path` and `merge_slashes`. Every rule
 * here was read off the real Envoy, odd ones included: what the evaluator answers must be what Envoy does.
 */

/** Decoded where they come escaped. */
const UNRESERVED = /[A-Za-z0-9\-._~]/;
const HEX_PAIR = /^[0-9A-Fa-f]{2}$/;
/** Sent raw, they are escaped. */
const ESCAPED = /["<>^`{|}]/g;
/** Refused: space, controls, everything beyond ASCII; a fragment. */
const REFUSED = /[^!-~]|#/;
const ESCAPED_SLASH = /%(?:2f|5c)/i;
/** `..;a=b` is `..`: path parameters of literal dot segments are dropped first. */
const DOT_PARAMETERS = /(^|\/)(\.\.?);[^/]*/g;

/** `path_with_escaped_slashes_action`: what becomes of `%2f` and `%5c`. Countersign's sidecars reject. */
export type EscapedSlashes = 'keep' | 'reject';

/**
 * The path that policies are judged on: dot segments resolved, `\` read as `/`, escaped unreserved characters
 * decoded, doubled slashes merged. The query is kept untouched.
 *
 * @returns undefined where Envoy answers 400.
 */
export function normalizePath(path: string, escapedSlashes: EscapedSlashes = 'reject'): string | undefined {
  if (!path.startsWith('/') || REFUSED.test(path)) return undefined;
  const end = path.indexOf('?');
  const [raw, query] = end < 0 ? [path, ''] : [path.slice(0, end), path.slice(end)];
  if (escapedSlashes === 'reject' && ESCAPED_SLASH.test(raw)) return undefined;
  const bare = raw.replaceAll(DOT_PARAMETERS, '$1$2');
  if (bare.includes('%00')) return undefined;
  const plain = decodeUnreserved(bare.replaceAll('\\', '/')).replaceAll(
    ESCAPED,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return mergeSlashes(resolveDots(plain)) + query;
}

/** The part of a path that `paths` looks at. */
export function withoutQuery(path: string): string {
  const end = path.search(/[?#]/);
  return end < 0 ? path : path.slice(0, end);
}

/** A decoded character that would turn a stray `%` before it into an escape makes that `%` a `%25`. */
function decodeUnreserved(path: string): string {
  if (!path.includes('%')) return path;
  let out = '';
  let stray = -1;
  for (let at = 0; at < path.length; at += 1) {
    const character = path.charAt(at);
    const hex = path.slice(at + 1, at + 3);
    if (character !== '%' || !HEX_PAIR.test(hex)) {
      if (character === '%') stray = out.length;
      out += character;
      continue;
    }
    const decoded = String.fromCharCode(Number.parseInt(hex, 16));
    at += 2;
    if (!UNRESERVED.test(decoded)) {
      out += `%${hex}`;
      continue;
    }
    out += decoded;
    const nested = stray === out.length - 2 ? decoded + path.charAt(at + 1) : out.slice(stray + 1);
    if (stray >= 0 && HEX_PAIR.test(nested)) out = `${out.slice(0, stray)}%25${out.slice(stray + 1)}`;
  }
  return out;
}

/** Empty segments count here: `/a//..` is `/a/`. */
function resolveDots(path: string): string {
  if (!path.includes('/.')) return path;
  const segments = path.split('/').slice(1);
  const kept: string[] = [];
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === '..') kept.pop();
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (last) kept.push('');
  }
  return `/${kept.join('/')}`;
}

/** Envoy keeps two slashes of a path that has nothing else. */
function mergeSlashes(path: string): string {
  if (!path.includes('//')) return path;
  const segments = path.split('/').filter((segment) => segment !== '');
  return `/${segments.join('/')}${path.endsWith('/') ? '/' : ''}`;
}
