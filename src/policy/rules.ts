import { CONDITION_KEYS, KEY_FORMS, notField, OPERATION_FIELDS, SOURCE_FIELDS } from './attributes.ts';
import type { Findings } from './findings.ts';
import { nearestName } from './nearest.ts';
import { sizeOf } from './rule-size.ts';
import { describe, quote, readFields, readList, type Fields, type Shape } from './shape.ts';
import type { Attribute, Clause, Matcher, Rule, Term } from './types.ts';
import { parseValue } from './values.ts';

const MAX_RULES = 512;
const MAX_KEY_LENGTH = 1024;
const MAX_VALUES = 32_768;
const MAX_TEXT = 256 * 1024;

/** What the readers of one policy share. */
interface Reading {
  readonly namespace: string;
  readonly findings: Findings;
}

const SOURCE_SHAPE: Shape = { known: withNegatives(SOURCE_FIELDS) };
const OPERATION_SHAPE: Shape = { known: withNegatives(OPERATION_FIELDS) };

/** `spec.rules`. */
export function readRules(value: unknown, reading: Reading): Rule[] {
  const { findings } = reading;
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    findings.error('spec.rules', `expected a list, found ${describe(value)}`);
    return [];
  }
  if (value.length > MAX_RULES) {
    findings.error('spec.rules', `at most ${MAX_RULES} rules, found ${value.length}; split the policy`);
    return [];
  }
  const rules = value.map((entry: unknown, index) => readRule(entry, index, reading));
  const { values, text } = sizeOf(rules);
  if (values > MAX_VALUES)
    findings.error('spec.rules', `at most ${MAX_VALUES} values, found ${values}; split the policy`);
  if (text > MAX_TEXT) {
    findings.error(
      'spec.rules',
      `at most ${MAX_TEXT} bytes of values, each counted with the name in its key; found ${text}: split the policy`,
    );
  }
  return rules;
}

function readRule(value: unknown, index: number, reading: Reading): Rule {
  const path = `spec.rules[${index}]`;
  const { findings } = reading;
  if (value === null) findings.error(path, 'found nothing; write {} for a rule that matches everything');
  const fields =
    value === null ? undefined : readFields(value, path, { known: ['from', 'to', 'when'] }, findings);
  return {
    index,
    from: readAlternatives(fields?.['from'], `${path}.from`, 'source', reading),
    to: readAlternatives(fields?.['to'], `${path}.to`, 'operation', reading),
    when: readConditions(fields?.['when'], `${path}.when`, reading),
  };
}

function readAlternatives(
  value: unknown,
  path: string,
  kind: 'source' | 'operation',
  reading: Reading,
): Clause[] {
  if (value === undefined) return [];
  const { findings } = reading;
  const list =
    readList(
      value,
      path,
      findings,
      `leave ${path.endsWith('from') ? 'from' : 'to'} out to match any ${kind}`,
    ) ?? [];
  return list.map((entry, index) => {
    const at = `${path}[${index}]`;
    const fields = readFields(entry, at, { known: [kind] }, findings);
    if (fields === undefined) return [];
    const inner = readFields(
      fields[kind],
      `${at}.${kind}`,
      kind === 'source' ? SOURCE_SHAPE : OPERATION_SHAPE,
      findings,
    );
    return inner === undefined ? [] : readClause(inner, `${at}.${kind}`, kind, reading);
  });
}

function readClause(fields: Fields, path: string, kind: 'source' | 'operation', reading: Reading): Clause {
  const { findings } = reading;
  if (Object.keys(fields).length === 0) {
    findings.error(
      path,
      `an empty ${kind} would match any; leave ${kind === 'source' ? 'from' : 'to'} out to say that`,
    );
  }
  if (kind === 'source') checkServiceAccounts(fields, path, findings);
  const clause: Term[] = [];
  for (const [name, attribute] of kind === 'source' ? SOURCE_FIELDS : OPERATION_FIELDS) {
    const negated = notField(name);
    const field = `${path}.${name}`;
    const notPath = `${path}.${negated}`;
    const values = readValues(fields[name], field, attribute, reading);
    const notValues = readValues(fields[negated], notPath, attribute, reading);
    if (values.length + notValues.length > 0)
      clause.push({ attribute, values, notValues, field, notField: notPath });
  }
  return clause;
}

/** A service account already says its namespace; a second word on it could only contradict. */
function checkServiceAccounts(fields: Fields, path: string, findings: Findings): void {
  for (const name of ['serviceAccounts', 'notServiceAccounts']) {
    if (fields[name] === undefined) continue;
    for (const other of ['principals', 'notPrincipals', 'namespaces', 'notNamespaces']) {
      if (fields[other] === undefined) continue;
      findings.error(
        `${path}.${name}`,
        `cannot stand beside ${other}; write two sources, or principals alone`,
      );
    }
  }
}

function readConditions(value: unknown, path: string, reading: Reading): Term[] {
  if (value === undefined) return [];
  const list = readList(value, path, reading.findings, 'leave when out to set no condition') ?? [];
  return list.flatMap((entry, index) => readCondition(entry, `${path}[${index}]`, reading) ?? []);
}

function readCondition(value: unknown, path: string, reading: Reading): Term | undefined {
  const { findings } = reading;
  const fields = readFields(value, path, { known: ['key', 'values', 'notValues'] }, findings);
  if (fields === undefined) return undefined;
  const attribute = readKey(fields['key'], `${path}.key`, findings);
  if (attribute === undefined) return undefined;
  if (fields['values'] === undefined && fields['notValues'] === undefined) {
    findings.error(path, 'a condition needs values or notValues');
    return undefined;
  }
  const [field, notPath] = [`${path}.values`, `${path}.notValues`];
  return {
    attribute,
    values: readValues(fields['values'], field, attribute, reading),
    notValues: readValues(fields['notValues'], notPath, attribute, reading),
    field,
    notField: notPath,
  };
}

function readKey(key: unknown, path: string, findings: Findings): Attribute | undefined {
  if (typeof key !== 'string') {
    findings.error(path, `expected a string such as source.namespace, found ${describe(key)}`);
    return undefined;
  }
  if (key.length > MAX_KEY_LENGTH || !key.isWellFormed()) {
    const fault = key.isWellFormed() ? `has ${key.length} characters` : 'holds half of a character';
    findings.error(path, `a key has at most ${MAX_KEY_LENGTH} characters; this one ${fault}`);
    return undefined;
  }
  const known = CONDITION_KEYS.get(key);
  if (known !== undefined) return known;
  const header = /^request\.headers\[(.*)\]$/.exec(key)?.[1];
  if (header !== undefined) return readHeaderName(header, path, findings);
  const claim = /^request\.auth\.claims((?:\[[^[\]]+\]){1,16})$/.exec(key)?.[1];
  if (claim !== undefined) return { kind: 'request.auth.claim', path: claim.slice(1, -1).split('][') };
  const [, filter, entry] = /^experimental\.(envoy\.filters\.[\w.-]+)\[([^[\]]+)\]$/.exec(key) ?? [];
  if (filter !== undefined && entry !== undefined) return { kind: 'filter.metadata', filter, key: entry };
  const names = [...CONDITION_KEYS.keys(), ...KEY_FORMS];
  const nearest = nearestName(key, names);
  const hint = nearest === undefined ? `allowed: ${names.join(', ')}` : `did you mean ${nearest}?`;
  findings.error(path, `unknown key ${quote(key)}; ${hint}`);
  return undefined;
}

/** Of one connection (RFC 9110 section 7.6.1): Envoy takes them off before any rule is asked, and makes of TE `trailers` or nothing. */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade'],
]);

/** Of the pseudo headers, those that a request cannot lack. */
function readHeaderName(header: string, path: string, findings: Findings): Attribute | undefined {
  const name = header.toLowerCase();
  if (OF_CONNECTION.has(name)) {
    findings.error(
      path,
      `no rule can judge by ${name}: it belongs to one connection, and Envoy takes it off or rewrites it before rules are asked; leave the condition out`,
    );
    return undefined;
  }
  if (name.includes('_')) {
    findings.warn(
      path,
      `can never match: Envoy refuses a request with ${quote(name)}, for its _; a header named ${quote(name.replaceAll('_', '-'))} is another one`,
    );
  }
  if (/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) || [':authority', ':method', ':path'].includes(name)) {
    return { kind: 'request.header', name };
  }
  findings.error(path, `${quote(header)} is no header name; write request.headers[x-name]`);
  return undefined;
}

function readValues(
  value: unknown,
  path: string,
  attribute: Attribute,
  { namespace, findings }: Reading,
): Matcher[] {
  if (value === undefined) return [];
  const list = readList(value, path, findings, 'leave the field out, or write a value') ?? [];
  return list.flatMap(
    (entry, index) => parseValue(entry, attribute, { namespace, findings, path: `${path}[${index}]` }) ?? [],
  );
}

function withNegatives(fields: ReadonlyMap<string, unknown>): string[] {
  return [...fields.keys()].flatMap((name) => [name, notField(name)]);
}
