import { defineConfig, type ViteUserConfig } from 'vitest/config';
import { SummaryReporter } from './setup/summary-reporter.ts';

/** What takes too long for every run: `make test-deep`. */
const config: ViteUserConfig = defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['src/**/*.deep.ts', 'test/**/*.deep.ts'],
    reporters: ['default', new SummaryReporter()],
    maxWorkers: 2,
    testTimeout: 3_600_000,
    hookTimeout: 60_000,
  },
});

export default config;
