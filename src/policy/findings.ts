import type { Issue } from './types.ts';

/** Of each severity. More than anybody mends at once would only fill a log. */
const MAX_ISSUES = 100;

/** Collects what is found about one document, in the order found. */
export class Findings {
  readonly issues: Issue[] = [];
  #errors = 0;
  #warnings = 0;

  error(path: string, message: string): void {
    this.#errors += 1;
    if (this.#errors <= MAX_ISSUES) this.issues.push({ severity: 'error', path, message });
    else if (this.#errors === MAX_ISSUES + 1)
      this.issues.push({
        severity: 'error',
        path: '',
        message: 'has more errors; mend those reported first',
      });
  }

  warn(path: string, message: string, code?: string): void {
    this.#warnings += 1;
    if (this.#warnings > MAX_ISSUES) return;
    this.issues.push({ severity: 'warning', path, message, ...(code !== undefined && { code }) });
  }

  get failed(): boolean {
    return this.#errors > 0;
  }
}

/** One line an issue: `error spec.action: ...`. */
export function renderIssues(issues: readonly Issue[]): string {
  return issues
    .map(({ severity, path, message }) => `${severity} ${path === '' ? '(document)' : path}: ${message}`)
    .join('\n');
}
