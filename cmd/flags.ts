import { InvalidArgumentError, Option } from 'commander';

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `15m`, `1h`, `1h30m`. @returns milliseconds */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+)(ms|s|m|h|d)/gu)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== text) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is not a duration: write 90s, 15m, 1h or 1h30m.`);
  }
  const ms = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0), 0);
  if (ms > 0) return ms;
  throw new InvalidArgumentError(`${JSON.stringify(text)} is no time at all: write 90s, 15m, 1h or 1h30m.`);
}

export function parseText(text: string): string {
  if (text.trim() !== '') return text;
  throw new InvalidArgumentError('It is empty: name one, or leave the flag out.');
}

/** A namespace's name: a DNS label (RFC 1123). */
export function parseNamespace(text: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/u.test(text)) return text;
  throw new InvalidArgumentError(
    `${JSON.stringify(text)} is not a namespace: a-z, 0-9 and - are allowed, at most 63 of them.`,
  );
}

/** `HOST:PORT` or `[IPV6]:PORT`; port 0 lets the system choose. */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:[\]]*)):(?<port>\d{1,5})$/u.exec(text);
  const host = match?.groups?.['v6'] ?? match?.groups?.['host'];
  const port = Number(match?.groups?.['port']);
  if (host === undefined || port > 65_535) {
    throw new InvalidArgumentError(
      `${JSON.stringify(text)} is not an address: write HOST:PORT or [IPV6]:PORT.`,
    );
  }
  return { host: host === '' ? '0.0.0.0' : host, port };
}

export function parsePositiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/u.test(text) || !Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is not a whole number of at least 1.`);
  }
  return value;
}

/** A number of proxies, few enough to count. */
export function parseHops(text: string): number {
  if (/^\d{1,2}$/u.test(text)) return Number(text);
  throw new InvalidArgumentError(`${JSON.stringify(text)} is not a number of proxies: write 0 to 99.`);
}

/** `NAMESPACE/NAME`. */
export function parsePodName(text: string): { namespace: string; name: string } {
  const [namespace, name, ...rest] = text.split('/');
  if (namespace === undefined || namespace === '' || name === undefined || name === '' || rest.length > 0) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is not a pod: write NAMESPACE/NAME.`);
  }
  return { namespace, name };
}

/** For a flag that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** A flag whose default is written as a person would write it: so help shows it, and the parser checks it. */
export function parsed(
  flags: string,
  description: string,
  parse: (text: string) => unknown,
  preset: string,
): Option {
  return new Option(flags, description).argParser(parse).default(parse(preset), preset);
}

export function choice(
  flags: string,
  description: string,
  choices: readonly string[],
  preset: string,
): Option {
  return new Option(flags, description).choices(choices).default(preset, preset);
}
