import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Document, Node, Pair, YAMLError } from 'yaml';
import { faultOf, type Fault } from './bounds.ts';
import { fieldSteps } from './field-path.ts';
import type { FieldPath, Manifest, ManifestProblem, Manifests, Mapping } from './types.ts';

/** More is no manifest that somebody mends by its list of faults. */
const MAX_FAULTS = 100;
/** Characters of the parser's own words, which may quote the text. */
const MAX_MESSAGE = 300;
const TOO_DEEP = 'nested too deeply; write it flat';
/** How the parser reports its own stack's end. */
const OVERFLOW = /stack/iu;

/**
 * The objects of one YAML or JSON text; several documents and `kind: List` are taken apart. A document that
 * cannot be read is a problem and costs the others nothing. Never throws.
 *
 * @param file - how to name the text in problems.
 */
export function readManifests(text: string, file: string): Manifests {
  const lines = new LineCounter();
  const documents: Manifest[] = [];
  const problems: ManifestProblem[] = [];
  for (const document of parse(text, file, lines, problems)) {
    try {
      const faults = faultsOf(document);
      for (const { offset, message } of faults.slice(0, MAX_FAULTS)) {
        const line = lines.linePos(offset).line;
        problems.push({ file, line, field: '', message: `not valid YAML: ${message}` });
      }
      if (faults.length > 0) continue;
      for (const object of objectsOf(document, file, lines, problems)) documents.push(object);
    } catch (error) {
      problems.push({ file, line: startLine(document, lines), field: '', message: unreadable(error) });
    }
  }
  return { documents, problems };
}

/**
 * The one mapping that a YAML or JSON text holds, read within the bounds of manifests, or why there is none: a
 * message that repeats nothing of the text. Never throws.
 */
export function readMapping(text: string): Mapping {
  const problems: ManifestProblem[] = [];
  const lines = new LineCounter();
  const [document, ...more] = parse(text, '', lines, problems);
  if (problems.length > 0) return bad(`is not readable as YAML: ${TOO_DEEP}`);
  if (document === undefined) return bad(NO_MAPPING);
  if (more.length > 0) return bad('holds several YAML documents: keep one');
  try {
    const [wrong] = [...document.errors, ...document.warnings];
    if (wrong !== undefined) return bad(`is not valid YAML: ${wordless(wrong, lines)}`);
    const fault = faultOf(document);
    if (fault !== undefined) {
      return bad(`is not valid YAML: line ${lines.linePos(fault.offset).line}: ${fault.message}`);
    }
    const value: unknown = document.toJS({ maxAliasCount: -1 });
    return isObject(value) ? { ok: true, value } : bad(NO_MAPPING);
  } catch (error) {
    return bad(
      `is not readable as YAML: ${error instanceof RangeError ? TOO_DEEP : 'write it plainly, without merges and tags'}`,
    );
  }
}

const NO_MAPPING = 'holds no JSON or YAML mapping';

function bad(message: string): Mapping {
  return { ok: false, message };
}

/** The parser's own code: its words may quote the text. */
function wordless({ code, message, pos }: YAMLError, lines: LineCounter): string {
  return OVERFLOW.test(message) ? TOO_DEEP : `line ${lines.linePos(pos[0]).line}: ${code}`;
}

function faultsOf(document: Document): readonly Fault[] {
  const faults = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    offset: pos[0],
    message: OVERFLOW.test(message) ? TOO_DEEP : message.slice(0, MAX_MESSAGE),
  }));
  if (faults.length > 0) return faults;
  const fault = faultOf(document);
  return fault === undefined ? [] : [fault];
}

function parse(text: string, file: string, lines: LineCounter, problems: ManifestProblem[]): Document[] {
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      // Looked for in a way that takes no longer the more there are.
      uniqueKeys: false,
      stringKeys: true,
      // As kubectl reads them: `<<` merges.
      merge: true,
    });
    return 'empty' in parsed ? [] : [...parsed];
  } catch (error) {
    problems.push({ file, line: 1, field: '', message: unreadable(error) });
    return [];
  }
}

function unreadable(error: unknown): string {
  if (error instanceof RangeError) return `not readable as YAML: ${TOO_DEEP}`;
  const cause = error instanceof Error ? error.message : String(error);
  return `not readable as YAML: ${cause.slice(0, MAX_MESSAGE)}`;
}

function objectsOf(
  document: Document,
  file: string,
  lines: LineCounter,
  problems: ManifestProblem[],
): Manifest[] {
  const value: unknown = document.toJS({ maxAliasCount: -1 });
  // A separator with nothing (or only comments) behind it is common and means nothing.
  if (value === null || value === undefined) return [];
  const line = startLine(document, lines);
  if (!isObject(value)) {
    problems.push({
      file,
      line,
      field: '',
      message: `expected a mapping (apiVersion, kind, metadata ...), found ${nameOf(value)}`,
    });
    return [];
  }
  const lineOf = (path: FieldPath): number => lineAt(document, fieldSteps(path), lines) ?? line;
  const items = value['items'];
  if (value['kind'] !== 'List') return [{ value, file, line, lineOf }];
  if (!Array.isArray(items)) {
    const message = `expected a list of the List's objects, found ${items === undefined ? 'nothing' : nameOf(items)}`;
    problems.push({ file, line: lineOf('items'), field: 'items', message });
    return [];
  }
  return items.flatMap((item: unknown, index) => {
    const prefix = `items[${index}]`;
    if (isObject(item) && item['kind'] === 'List') {
      const message = 'a List in a List: write its objects into the outer one';
      problems.push({ file, line: lineOf(prefix), field: prefix, message });
      return [];
    }
    if (isObject(item)) {
      return [
        {
          value: item,
          file,
          line: lineOf(prefix),
          lineOf: (path) => lineOf(['items', index, ...fieldSteps(path)]),
        },
      ];
    }
    problems.push({
      file,
      line: lineOf(prefix),
      field: prefix,
      message: `expected a mapping, found ${nameOf(item)}`,
    });
    return [];
  });
}

/** The line of the deepest node on the path that is there. */
function lineAt(
  document: Document,
  steps: readonly (string | number)[],
  lines: LineCounter,
): number | undefined {
  let node: Node | null = document.contents;
  let offset = node?.range?.[0];
  for (const step of steps) {
    if (isAlias(node)) node = node.resolve(document) ?? null;
    const next: { at: Node; value: Node | null } | undefined = child(node, step);
    if (next === undefined) break;
    offset = next.at.range?.[0] ?? offset;
    node = next.value;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

/** A mapping's entry is found at its key (where a reader looks), a sequence's at its value. */
function child(node: Node | null, step: string | number): { at: Node; value: Node | null } | undefined {
  if (isSeq(node) && typeof step === 'number') {
    const item = node.items[step];
    return isNode(item) ? { at: item, value: item } : undefined;
  }
  if (!isMap(node)) return undefined;
  const pair: Pair | undefined = node.items.find(
    ({ key }) => isScalar(key) && String(key.value) === String(step),
  );
  if (pair === undefined || !isNode(pair.key)) return undefined;
  return { at: pair.key, value: isNode(pair.value) ? pair.value : null };
}

function startLine(document: Document, lines: LineCounter): number {
  return lines.linePos(document.contents?.range?.[0] ?? document.range?.[0] ?? 0).line;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function nameOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  return value === null ? 'nothing' : `a ${typeof value}`;
}
