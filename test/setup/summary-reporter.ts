import type { Reporter, TestModule } from 'vitest/node';

/**
 * Names each test that passed only when it was tried again, with what was wrong first, and closes a run with one line that any CI can read:
 * `N passed, N failed`, alone and last.
 */
export class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    let skipped = 0;
    const again: string[] = [];
    for (const module of modules) {
      // A module that failed to load has no tests, yet must never count as green.
      if (module.state() === 'failed' && module.errors().length > 0) failed += 1;
      // Nor may a suite whose hooks failed: its tests are merely skipped.
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) failed += 1;
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        if (test.diagnostic()?.flaky === true) {
          again.push(`${module.relativeModuleId} > ${test.fullName}: ${errors?.[0]?.message ?? 'no error'}`);
        }
        if (state === 'passed') passed += 1;
        else if (state === 'failed') failed += 1;
        else skipped += 1;
      }
    }
    const told = again.map((name) => `passed when tried again: ${name}\n`).join('');
    const rest = skipped > 0 ? `, ${skipped} skipped` : '';
    process.on('exit', () => process.stdout.write(`${told}${passed} passed, ${failed} failed${rest}\n`));
  }
}
