/** A YAML value as what it should be, or as nothing. */

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function mapping(value: unknown): Readonly<Record<string, unknown>> {
  return isMapping(value) ? value : {};
}

/** @throws Error that says what is wrong */
export function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

/** @throws Error where a document with another field was read */
export function knows(value: unknown, names: readonly string[]): void {
  for (const name of Object.keys(mapping(value)))
    demand(names.includes(name), `read a document with the unknown field ${name}`);
}
