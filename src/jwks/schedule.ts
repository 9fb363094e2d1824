/** All in ms. */
export interface Schedule {
  readonly refreshMs: number;
  readonly minRefreshMs: number;
  readonly maxRefreshMs: number;
  readonly retryMs: number;
  readonly maxRetryMs: number;
}

/** @param maxAgeMs what the server names; undefined: nothing */
export function refreshDelayMs(schedule: Schedule, maxAgeMs: number | undefined, random: number): number {
  const namedMs = maxAgeMs ?? schedule.refreshMs;
  return spread(Math.min(Math.max(namedMs, schedule.minRefreshMs), schedule.maxRefreshMs), random);
}

/** @param failures in a row, from 1 */
export function retryDelayMs(schedule: Schedule, failures: number, random: number): number {
  return spread(Math.min(schedule.retryMs * 2 ** (failures - 1), schedule.maxRetryMs), random);
}

/** Ten percent more or less, so that a fleet does not ask as one. */
function spread(delayMs: number, random: number): number {
  return Math.round(delayMs * (0.9 + 0.2 * random));
}
