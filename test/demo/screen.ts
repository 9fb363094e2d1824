/** What the demo prints. Colours only for a terminal. */

const colours = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint =
  (code: number) =>
  (text: string): string =>
    colours ? `\u001b[${code}m${text}\u001b[0m` : text;

export const bold: (text: string) => string = paint(1);
export const dim: (text: string) => string = paint(2);
export const green: (text: string) => string = paint(32);
export const red: (text: string) => string = paint(31);
export const yellow: (text: string) => string = paint(33);

const started = performance.now();

export function say(text = ''): void {
  process.stdout.write(`${text}\n`);
}

export function heading(title: string): void {
  say();
  say(bold(title));
}

/** A step that takes a while: its name first, then how long it took. */
export async function step<T>(name: string, run: () => Promise<T>): Promise<T> {
  const begin = performance.now();
  process.stdout.write(`  ${name} ... `);
  const value = await run();
  say(dim(`${((performance.now() - begin) / 1_000).toFixed(1)} s`));
  return value;
}

export function elapsedSeconds(): string {
  return ((performance.now() - started) / 1_000).toFixed(0);
}

export class Checks {
  #failed = 0;
  #passed = 0;

  /** Notes an expectation. @returns a mark for the screen */
  check(holds: boolean): string {
    if (holds) this.#passed += 1;
    else this.#failed += 1;
    return holds ? green('ok') : red('DIFFERS');
  }

  get failed(): number {
    return this.#failed;
  }

  get passed(): number {
    return this.#passed;
  }
}
