import { watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Choices } from './random.ts';

/** When a process is killed: so long after a command was started, or after so many changes of what it writes. */
export type Moment =
  | { readonly after: 'start'; readonly ms: number }
  | { readonly after: 'answer'; readonly ms: number }
  | { readonly after: 'writes'; readonly count: number; readonly ms: number };

/** Most of them in the midst of what a step writes, for that is short. */
export function someMoment(choices: Choices): Moment {
  const after = choices.of([
    ['writes', 6],
    ['start', 3],
    ['answer', 1],
  ] as const);
  if (after === 'start') return { after, ms: choices.below(1_500) };
  if (after === 'answer') return { after, ms: choices.below(1_000) };
  // Of the state and of both files of the bundle: made, written, put in place.
  const last = choices.of([
    [5, 3],
    [14, 1],
  ] as const);
  return { after, count: 1 + choices.below(last), ms: choices.below(2) * choices.below(10) };
}

/**
 * Waits for it. A step that is refused writes nothing, so its answer ends the wait too.
 * @param dataDir of the process
 * @param answered when the command has its answer
 */
export async function untilMoment(
  moment: Moment,
  dataDir: string,
  answered: Promise<unknown>,
): Promise<void> {
  if (moment.after === 'start') return await sleep(moment.ms);
  if (moment.after === 'answer') {
    await answered;
    return await sleep(moment.ms);
  }
  let left = moment.count;
  const { promise, resolve } = Promise.withResolvers<void>();
  const note = (_event: string, name: string | null): void => {
    if (!/^(?:authority\.json|bundle\.)/u.test(name ?? '')) return;
    left -= 1;
    if (left === 0) resolve();
  };
  const watchers = [dataDir, join(dataDir, 'authority')].map((folder) => watch(folder, note));
  try {
    await Promise.race([promise, answered]);
    if (moment.ms > 0) await sleep(moment.ms);
  } finally {
    for (const watcher of watchers) watcher.close();
  }
}
