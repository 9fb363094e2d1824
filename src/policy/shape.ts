import type { Findings } from './findings.ts';
import { nearestName } from './nearest.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** What a mapping may hold. */
export interface Shape {
  readonly known: readonly string[];
  /** Parts of the language that this version cannot enforce yet: refused, so that nothing is silently allowed. */
  readonly unsupported?: readonly string[];
}

/** A mapping with known fields only; undefined (and said so) where it is none. */
export function readFields(
  value: unknown,
  path: string,
  shape: Shape,
  findings: Findings,
): Fields | undefined {
  if (!isFields(value)) {
    findings.error(path, `expected a mapping, found ${describe(value)}`);
    return undefined;
  }
  for (const name of Object.keys(value)) {
    if (shape.known.includes(name)) continue;
    const field = join(path, name);
    if (shape.unsupported?.includes(name) === true) {
      findings.error(field, `${name} is not supported yet; remove it or keep the policy out until it is`);
      continue;
    }
    const allowed = [...shape.known, ...(shape.unsupported ?? [])];
    const nearest = nearestName(name, allowed);
    const hint = nearest === undefined ? `allowed: ${shape.known.join(', ')}` : `did you mean ${nearest}?`;
    findings.error(field, `unknown field ${quote(name)}; ${hint}`);
  }
  return value;
}

/** A list with at least one entry; undefined (and said so) where it is none. */
export function readList(
  value: unknown,
  path: string,
  findings: Findings,
  whenEmpty: string,
): readonly unknown[] | undefined {
  if (!Array.isArray(value)) {
    findings.error(path, `expected a list, found ${describe(value)}`);
    return undefined;
  }
  if (value.length === 0) {
    findings.error(path, `an empty list; ${whenEmpty}`);
    return undefined;
  }
  return value;
}

/** A mapping of strings; other values are said and left out. */
export function readStrings(value: unknown, path: string, findings: Findings): Record<string, string> {
  const strings: Record<string, string> = {};
  if (!isFields(value)) {
    findings.error(path, `expected a mapping of strings, found ${describe(value)}`);
    return strings;
  }
  for (const name of Object.keys(value).toSorted()) {
    const entry = value[name];
    if (typeof entry === 'string') define(strings, name, entry);
    else findings.error(join(path, name), `expected a string, found ${describe(entry)}; put it in quotes`);
  }
  return strings;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `a.b`, or `a["b.c/d"]` where the name is no plain word. */
export function join(path: string, name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === '' ? name : `${path}.${name}`;
}

export function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'number' || typeof value === 'boolean'
    ? `the ${typeof value} ${value}`
    : `a ${typeof value}`;
}

/** Like `describe`, with nothing of the value itself: it may be a secret. */
export function kindOf(value: unknown): string {
  if (typeof value === 'string') return 'a text';
  return ['number', 'boolean'].includes(typeof value) ? `a ${typeof value}` : describe(value);
}

/** Quoted, and cut where it is too long to be read. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 117)}...` : text);
}

/** `__proto__` is a name like any other here. */
function define(target: Record<string, string>, name: string, value: string): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}
