import { setImmediate } from 'node:timers/promises';

/** Does one after another, and lets everything else that waits for the event loop have its turn in between. */
export async function inTurns<T>(items: Iterable<T>, act: (item: T) => void): Promise<void> {
  let first = true;
  for (const item of items) {
    if (!first) await setImmediate();
    first = false;
    act(item);
  }
}
