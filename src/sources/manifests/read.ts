import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Document, Node, Pair } from 'yaml';
import { fieldSteps } from './field-path.ts';
import type { FieldPath, Manifest, ManifestProblem, Manifests } from './types.ts';

/**
 * How often aliases may be expanded in one document. Manifests written by people use a handful; a document
 * built to blow up in memory uses millions.
 */
const MAX_ALIAS_COUNT = 100;

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
    const faults = [...document.errors, ...document.warnings];
    for (const fault of faults) {
      const line = lines.linePos(fault.pos[0]).line;
      problems.push({ file, line, field: '', message: `not valid YAML: ${fault.message}` });
    }
    if (faults.length > 0) continue;
    try {
      documents.push(...objectsOf(document, file, lines, problems));
    } catch (error) {
      problems.push({ file, line: startLine(document, lines), field: '', message: unreadable(error) });
    }
  }
  return { documents, problems };
}

function parse(text: string, file: string, lines: LineCounter, problems: ManifestProblem[]): Document[] {
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: true,
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
  if (error instanceof RangeError) {
    return 'not readable as YAML: nested too deeply; write it flat';
  }
  const cause = error instanceof Error ? error.message : String(error);
  const hint = cause.includes('alias') ? `; at most ${MAX_ALIAS_COUNT} alias expansions are allowed` : '';
  return `not readable as YAML: ${cause}${hint}`;
}

function objectsOf(
  document: Document,
  file: string,
  lines: LineCounter,
  problems: ManifestProblem[],
): Manifest[] {
  const value: unknown = document.toJS({ maxAliasCount: MAX_ALIAS_COUNT });
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
  if (value['kind'] !== 'List' || !Array.isArray(items)) return [{ value, file, line, lineOf }];
  return items.flatMap((item: unknown, index) => {
    const prefix = `items[${index}]`;
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
