/**
 * Path templates: `{*}` is one segment, `{**}` any rest. Envoy's matcher knows just the alphabet below; what a
 * template cannot say there is refused at admission: Envoy 1.40 does not refuse such a template, it crashes on it.
 */

/** What Envoy takes as a literal in a template, and what its operators match. */
const LITERAL = /^[A-Za-z0-9\-._~%!$&'()+,;:@=]*$/;
const SEGMENT_TEXT = "[A-Za-z0-9\\-._~%!$&'()+,;:@=]";
const REST_TEXT = "[A-Za-z0-9\\-._~%!$&'()+,;:@=/]";
/**
 * Envoy compiles no regular expression to more than 100 steps, and refuses the whole filter that holds one. A
 * character is one step, `[^/]+` three, `.*` two, and beginning and end four.
 */
const MAX_STEPS = 96;

/** Why a template is no template; undefined: it is one. */
export function templateFault(template: string): string | undefined {
  if (!template.startsWith('/')) return 'a path template begins with /';
  const segments = template.slice(1).split('/');
  const operators = segments.filter((segment) => segment.includes('{') || segment.includes('}'));
  if (operators.some((segment) => segment !== '{*}' && segment !== '{**}')) {
    return 'in a path template {*} and {**} are whole segments: /a/{*}/b, /a/{**}';
  }
  if (operators.slice(0, -1).includes('{**}')) return '{**} must be the last operator of a path template';
  if (segments.slice(0, -1).includes('')) return 'a path template has no empty segment (//)';
  if (stepsOf(template) > MAX_STEPS)
    return `a path template has at most ${MAX_STEPS} characters, of which {*} counts as three and {**} as two; write a prefix (/a/*) for what is longer`;
  const literals = segments.filter((segment) => !operators.includes(segment));
  if (literals.some((segment) => segment.includes('*')))
    return 'a path template takes {*} and {**}, not a bare *';
  const odd = literals.find((segment) => !LITERAL.test(segment));
  if (odd === undefined) return undefined;
  return `Envoy takes no ${JSON.stringify(odd.replaceAll(/[\w\-.~%!$&'()+,;:@=]/g, ''))} in a path template`;
}

function stepsOf(template: string): number {
  return template.replaceAll('{**}', '**').replaceAll('{*}', '***').length;
}

/** In Envoy's own words. */
export function envoyTemplate(template: string): string {
  return template.replaceAll('{**}', '**').replaceAll('{*}', '*');
}

/** What Envoy's template matcher accepts; `[` and `]` in a request's path are outside its alphabet. */
export function templateRegExp(template: string): RegExp {
  return new RegExp(`^${regexSource(template, `${SEGMENT_TEXT}+`, `${REST_TEXT}*`)}$`);
}

/** The same with any character: where missing a request would let it through. RE2 and JavaScript agree on it. */
export function wideTemplateRegex(template: string): string {
  return regexSource(template, '[^/]+', '.*');
}

/** A literal inside a regular expression, for RE2 and JavaScript alike. */
export function escapeRegex(literal: string): string {
  return literal.replaceAll(/[\\^$.*+?()[\]{}|]/g, (character) => `\\${character}`);
}

function regexSource(template: string, segment: string, rest: string): string {
  return template
    .split(/(\{\*\*\}|\{\*\})/)
    .map((part) => {
      if (part === '{*}') return segment;
      return part === '{**}' ? rest : escapeRegex(part);
    })
    .join('');
}
