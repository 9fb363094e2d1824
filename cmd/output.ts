import { stringify } from 'yaml';
import { printable } from '../src/text/index.ts';

/** How data is printed. */
export type DataFormat = 'json' | 'yaml';

/** A whole value on stdout. */
export function printData(value: unknown, format: DataFormat): void {
  process.stdout.write(dataText(value, format));
}

export function dataText(value: unknown, format: DataFormat): string {
  return format === 'yaml' ? stringify(value) : `${JSON.stringify(value, undefined, 2)}\n`;
}

/** Columns under upper-case heads, two spaces between: what kubectl's users read with ease. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(printable));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => (row[column] ?? '').length)),
  );
  return [head.map((title) => title.toUpperCase()), ...cells]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}
