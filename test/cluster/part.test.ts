import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { root } from '../harness/paths.ts';
import { Child } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { Part } from './part.ts';

const sleeper = { name: 'sleeper', command: 'sleep', args: (): string[] => ['600'] };

/** One that has ended and that nobody has asked about yet (state Z) is not. */
function alive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !stat.slice(stat.lastIndexOf(')')).startsWith(') Z');
  } catch {
    return false;
  }
}

it('a part ends with the process that started it, even where that is killed', async () => {
  const script = `
    import { readFileSync } from 'node:fs';
    import { Part } from ${JSON.stringify(`${root}test/cluster/part.ts`)};
    // Frozen before that, it has not asked yet to end with its parent.
    const ready = async () => readFileSync('/proc/' + part.pid + '/comm', 'utf8') === 'sleep\\n';
    const part = new Part({ name: 'sleeper', command: 'sleep', args: () => ['600'], ready });
    await part.start();
    part.freeze();
    console.log(part.pid);`;
  const parent = new Child('parent', process.execPath, ['--input-type=module', '--eval', script]);
  const pid = await waitFor('the part to run', () =>
    /^\d+\n/u.test(parent.stdout) ? Number(parent.stdout) : undefined,
  );
  expect(alive(pid)).toBe(true);
  parent.kill('SIGKILL');
  await waitFor('the part to end', () => (alive(pid) ? undefined : true));
});

it('a part that ends before it is ready is reported at once, with its log', async () => {
  const part = new Part({
    name: 'broken',
    command: 'sh',
    args: () => ['-c', 'echo no disk >&2; exit 3'],
    ready: async () => await sleep(60_000, false, { ref: false }),
  });
  await expect(part.start()).rejects.toThrow(/broken did not start; its log ends:\nno disk/u);
  expect(part.running).toBe(false);
});

it('a frozen part can be stopped', async () => {
  const part = new Part({ ...sleeper, ready: async () => true });
  await part.start();
  await expect(part.start()).rejects.toThrow(/runs already/u);
  part.freeze();
  await part.stop();
  expect(part.running).toBe(false);
});
