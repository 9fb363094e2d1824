import type { NameRule } from './names.ts';

export type Steps = readonly (string | number)[];

/** One finding about a field; the line is looked up when it is reported. */
export interface FieldFault {
  readonly path: Steps;
  readonly message: string;
}

/**
 * A place in a document, read field by field. Faults are collected, so that a person sees all of them at once; a
 * faulty field reads as absent, and the document is not used in the end.
 */
export class Fields {
  readonly path: Steps;
  readonly value: unknown;
  readonly #faults: FieldFault[];

  constructor(value: unknown, path: Steps, faults: FieldFault[]) {
    this.value = value;
    this.path = path;
    this.#faults = faults;
  }

  fault(message: string): undefined {
    this.#faults.push({ path: this.path, message });
    return undefined;
  }

  /** `null` is absent, as for Kubernetes. */
  get absent(): boolean {
    return this.value === undefined || this.value === null;
  }

  at(step: string): Fields {
    const inner = isRecord(this.value) && Object.hasOwn(this.value, step) ? this.value[step] : undefined;
    return new Fields(inner, [...this.path, step], this.#faults);
  }

  /** Itself, and a fault when it is something else than a mapping. */
  mapping(): this {
    if (!this.absent && !isRecord(this.value)) this.fault(`expected a mapping, found ${kindOf(this.value)}`);
    return this;
  }

  items(): readonly Fields[] {
    if (this.absent) return [];
    if (!Array.isArray(this.value)) {
      this.fault(`expected a list, found ${kindOf(this.value)}`);
      return [];
    }
    return this.value.map((item: unknown, index) => new Fields(item, [...this.path, index], this.#faults));
  }

  text(rule?: NameRule): string | undefined {
    if (this.absent) return undefined;
    if (typeof this.value !== 'string') {
      return this.fault(`expected a text, found ${kindOf(this.value)}; put it in quotes`);
    }
    const fault = this.value === '' ? undefined : rule?.(this.value);
    return fault === undefined ? this.value : this.fault(`${shown(this.value)} ${fault}`);
  }

  /** A text that must be there. The empty text returned with a fault is never used. */
  requiredText(rule: NameRule): string {
    const text = this.text(rule);
    if (text === undefined ? this.absent : text === '') this.fault('is missing; it is required');
    return text ?? '';
  }

  oneOf<T extends string>(allowed: readonly T[], otherwise: T): T {
    const text = this.text();
    if (text === undefined || text === '') return otherwise;
    const found = allowed.find((value) => value === text);
    if (found === undefined) this.fault(`${shown(text)} is not one of ${allowed.join(', ')}`);
    return found ?? otherwise;
  }

  port(): number | undefined {
    if (this.absent) return undefined;
    const { value } = this;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535) return value;
    return this.fault(`expected a port from 1 to 65535, found ${shown(value)}`);
  }

  /** A mapping of texts. */
  texts(keyRule: NameRule, valueRule?: NameRule): Readonly<Record<string, string>> {
    this.mapping();
    const texts: [string, string][] = [];
    for (const key of isRecord(this.value) ? Object.keys(this.value) : []) {
      const keyFault = keyRule(key);
      if (keyFault !== undefined) this.at(key).fault(`${shown(key)} ${keyFault}`);
      const text = this.at(key).text(valueRule);
      if (text !== undefined) texts.push([key, text]);
    }
    return Object.fromEntries(texts);
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value in a message: in JSON, and never longer than a line. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/** `spec.ports[0].port`, `metadata.labels["app.kubernetes.io/name"]`. */
export function fieldText(path: Steps): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[\w-]+$/.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  return isRecord(value) ? 'a mapping' : `a ${typeof value}`;
}
