import { setTimeout as sleep } from 'node:timers/promises';

/** Until the time is over, or `signal` is aborted. Never rejects. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined); // The signal: its callers look at it.
}
