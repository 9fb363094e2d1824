import { IdentityError, quote } from './errors.ts';

/**
 * Parses JSON and refuses an object that has a key twice: `JSON.parse` keeps the last one without a word, and
 * two readers of one bundle would then trust different keys.
 * @throws IdentityError `bundle-malformed`
 */
export function parseUniqueJson(text: string, what: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new IdentityError('bundle-malformed', `The ${what} is not JSON.`, { cause });
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) {
    throw new IdentityError(
      'bundle-malformed',
      `The ${what} has the key ${quote(twice)} twice in one object: each may stand once.`,
    );
  }
  return value;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g;

/** `text` is known to be JSON, so its strings and brackets are all that must be looked at. */
function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let lastString: string | undefined;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (token === ':') {
      const keys = open.at(-1);
      if (keys === undefined || lastString === undefined) continue;
      // Two spellings of one key ("a" and its escape) are the same key.
      const key = String(JSON.parse(lastString));
      if (keys.has(key)) return key;
      keys.add(key);
    } else if (token !== ',') lastString = token;
  }
  return undefined;
}
