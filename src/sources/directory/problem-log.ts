import type { DirectoryReport, Problem } from './types.ts';

/** The present problems; each is reported when it appears and when it is solved, and not in between. */
export class ProblemLog {
  readonly #onReport: (report: DirectoryReport) => void;
  #current = new Map<string, Problem>();

  constructor(onReport: (report: DirectoryReport) => void) {
    this.#onReport = onReport;
  }

  get current(): readonly Problem[] {
    return [...this.#current.values()];
  }

  set(problems: readonly Problem[]): void {
    const before = this.#current;
    this.#current = new Map(problems.map((problem) => [identityOf(problem), problem]));
    for (const [identity, problem] of before) {
      if (!this.#current.has(identity)) this.#onReport({ kind: 'solved', problem });
    }
    for (const [identity, problem] of this.#current) {
      if (!before.has(identity)) this.#onReport({ kind: 'problem', problem });
    }
  }
}

/** With the line, as one document may have the same fault twice over. */
function identityOf(problem: Problem): string {
  return JSON.stringify(problem, ['severity', 'file', 'line', 'field', 'message', 'object']);
}
