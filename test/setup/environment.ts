/** A whole number from the environment, or another where there is none. @throws Error where it is no number */
export function fromEnvironment(name: string, otherwise: number): number {
  const text = process.env[name] ?? '';
  if (text === '') return otherwise;
  if (/^\d{1,10}$/u.test(text)) return Number(text) >>> 0;
  throw new Error(`${name}: expected a whole number, found ${JSON.stringify(text)}`);
}
