import { formatTable } from '../../cmd/output.ts';

/** One line of the table. */
export interface Row {
  readonly name: string;
  readonly what: string;
  readonly unit: 'per CPU second' | 'CPU seconds' | 'ms' | 'KiB' | 'reviews' | 'requests';
  readonly better: 'higher' | 'lower';
  readonly value: number;
  /** What nothing made of the same parts could beat, measured in the same run. */
  readonly limit: number;
  /** How much of the limit was reached: 1 is the limit, less is worse, whichever way is better. */
  readonly ofLimit: number;
  readonly limitIs: string;
}

/** @param ofLimit where rounds were paired: the median of their ratios, which noise hits less */
export function row(measured: Omit<Row, 'ofLimit'> & { readonly ofLimit?: number }): Row {
  const { better, value, limit } = measured;
  return { ofLimit: better === 'higher' ? value / limit : limit / value, ...measured };
}

export function table(rows: readonly Row[]): string {
  const notes = [...new Set(rows.map(({ limitIs }) => limitIs))];
  const lines = rows.map(({ name, what, unit, value, limit, ofLimit, limitIs }) => [
    name,
    what,
    rounded(value),
    rounded(limit),
    unit,
    `${Math.round(ofLimit * 100)} %`,
    `[${notes.indexOf(limitIs) + 1}]`,
  ]);
  return [
    formatTable(['row', 'measured', 'value', 'limit', 'unit', 'of limit', ''], lines),
    '\nThe limit was measured in the same run, and is:\n',
    ...notes.map((note, at) => `[${at + 1}] ${note}\n`),
  ].join('');
}

function rounded(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3);
}
