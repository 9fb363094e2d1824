import type { Issue } from './types.ts';

/** Collects what is found about one document, in the order found. */
export class Findings {
  readonly issues: Issue[] = [];

  error(path: string, message: string): void {
    this.issues.push({ severity: 'error', path, message });
  }

  warn(path: string, message: string, code?: string): void {
    this.issues.push({ severity: 'warning', path, message, ...(code !== undefined && { code }) });
  }

  get failed(): boolean {
    return this.issues.some(({ severity }) => severity === 'error');
  }
}

/** One line an issue: `error spec.action: ...`. */
export function renderIssues(issues: readonly Issue[]): string {
  return issues
    .map(({ severity, path, message }) => `${severity} ${path === '' ? '(document)' : path}: ${message}`)
    .join('\n');
}
