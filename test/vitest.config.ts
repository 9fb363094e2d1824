import { defineConfig, type ViteUserConfig } from 'vitest/config';
import { SummaryReporter } from './setup/summary-reporter.ts';

const config: ViteUserConfig = defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['src/**/*.test.ts', 'cmd/**/*.test.ts', 'test/**/*.test.ts'],
    setupFiles: [new URL('setup/fast-check.ts', import.meta.url).pathname],
    reporters: ['default', new SummaryReporter()],
    // Two cores are the smallest machine this runs on; more workers would only make process tests flaky.
    maxWorkers: 2,
    testTimeout: 30_000,
    // Real processes on a busy machine miss a deadline now and then; whatever needs it is named at the end of the run.
    retry: 1,
    hookTimeout: 120_000,
  },
});

export default config;
