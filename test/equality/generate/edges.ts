import { SVIDS } from '../world.ts';
import { swapCase } from './values.ts';

/** Texts that a document's value matches, as `*`, `x*`, `*x`, template or whole. */
export function instances(value: string): string[] {
  if (value === '*') return ['v'];
  if (value.includes('{')) {
    return ['s', '~.-_!'].flatMap((segment) =>
      ['', 'p/q'].map((rest) => value.replaceAll('{*}', segment).replaceAll('{**}', rest)),
    );
  }
  if (value.endsWith('*')) return [value.slice(0, -1), `${value.slice(0, -1)}q`];
  return value.startsWith('*') ? [value.slice(1), `q${value.slice(1)}`] : [value];
}

/** What stands just beside a text. */
export function neighbours(text: string): string[] {
  return [text.slice(0, -1), text.slice(1), `${text}x`, `x${text}`, swapCase(text), `${text}${text}`];
}

/** A path beyond the edge: what normalization, escapes, parameters and odd characters make of it. */
export function pathNeighbours(path: string): string[] {
  const cut = path.lastIndexOf('/');
  const [head, tail] = [path.slice(0, cut + 1), path.slice(cut + 1)];
  const escaped = (text: string): string =>
    text.replace(/[a-z]/iu, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
  return [
    ...[path.slice(0, -1), `${path}x`, `${path}/`, swapCase(path), `${path}?q=1`, `${path}?`, `${path}/.`],
    ...[`${path}/..`, `${path}/../${tail}`, `/z/..${path}`, `/.${path}`, `/${path}`, `${head}/${tail}`],
    ...[`${head}z/%2e%2E/${tail}`, `${head}z/.%2e/${tail}`, `${head}..;/${tail}`, `${head}z/..;x/${tail}`],
    ...[`${head}%2e%2e;/${tail}`, `${head}.;y/${tail}`, `${path};x`, `${path};`, `${path}%3Bx`, `${path}%00`],
    ...[`${head.slice(0, -1)}%2f${tail}`, `${head.slice(0, -1)}%5C${tail}`, `${head.slice(0, -1)}\\${tail}`],
    ...[
      `${head}${escaped(tail)}`,
      `${path}%`,
      `${path}%2`,
      `${path}%zz`,
      `${path}%25`,
      `${path}|`,
      `${path}[`,
    ],
    ...[
      `${path}]`,
      `${path}"`,
      `${path}{`,
      `${path}#x`,
      `${path}%20`,
      `${path}+`,
      `${head}[/${tail}`,
      `${path}..`,
    ],
    ...[`${head}.../${tail}`, `${head}%41${tail}`, `/${path}/`, `${path}~`, `${path}^`, `${path}\`b`],
    ...[`${path}/x?y=/../z`, `${path}%C3%A9`, `${path}%e9`, `/%2e${path}`, `${path}/%2e.`, `${path}=:@,`],
  ];
}

/** SVIDs that a source's field lets in; enough of the language to aim with, and no judge. */
export function svidsFor(field: string, value: string): string[] {
  const subject = (id: string): string => {
    const [, domain = '', namespace = '', account = ''] =
      /^spiffe:\/\/([^/]+)(?:\/ns\/([^/]+))?(?:\/sa\/(.+))?/u.exec(id) ?? [];
    if (field === 'namespaces') return namespace;
    if (field === 'trustDomains') return domain;
    if (field === 'serviceAccounts') return value.includes('/') ? `${namespace}/${account}` : account;
    return value.startsWith('spiffe://') ? id : id.slice('spiffe://'.length);
  };
  return SVIDS.filter((id) => {
    const text = subject(id);
    if (value === '*') return text !== '';
    if (value.endsWith('*')) return text.startsWith(value.slice(0, -1));
    return value.startsWith('*') ? text.endsWith(value.slice(1)) : text === value;
  });
}
