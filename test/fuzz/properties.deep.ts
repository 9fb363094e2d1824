import { randomInt } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Child } from '../harness/process.ts';
import { fromEnvironment } from '../setup/environment.ts';

const root = new URL('../../', import.meta.url);
const first = fromEnvironment('FAST_CHECK_SEED', randomInt(2 ** 31));
const runs = fromEnvironment('FAST_CHECK_RUNS', 30);

/** Every test of a property that `make test` tries with one seed. */
const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root.pathname })
  .filter((name) => !name.startsWith('test/fuzz/') && !name.startsWith('test/equality/'))
  .filter((name) => readFileSync(new URL(name, root), 'utf8').includes("from 'fast-check'"))
  .toSorted();

describe(`the properties of ${files.length} files hold`, () => {
  it.each(Array.from({ length: runs }, (_, index) => (first + index * 0x9e3779b1) >>> 0))(
    'FAST_CHECK_SEED=%i',
    async (seed) => {
      process.stderr.write(`properties: FAST_CHECK_SEED=${seed}\n`);
      const args = [
        'run',
        '--config',
        'test/vitest.config.ts',
        '--maxWorkers',
        '1',
        '--testTimeout',
        '600000',
        ...files,
      ];
      const command = ['node_modules/.bin/vitest', ...args];
      const env = { FAST_CHECK_SEED: String(seed), NO_COLOR: '1' };
      const child = new Child('vitest', process.execPath, command, { env });
      const code = await child.exited;
      const replay = `FAST_CHECK_SEED=${seed} npm test -- ${files.join(' ')}`;
      expect(code, `${replay}\n${child.stdout}${child.stderr}`).toBe(0);
    },
  );
});
