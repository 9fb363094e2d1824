/** The longest delay that timers take without overflowing (about 24 days). */
const MAX_DELAY_MS = 2_147_483_647;

export const DEFAULT_EXPIRY_MARGIN_MS = 60_000;

/** One delayed call. @returns the function that cancels it. */
export type After = (delayMs: number, run: () => void) => () => void;

export const timerAfter: After = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return (): void => clearTimeout(timer);
};

/**
 * When to end a stream whose proof expires: within the last fifth of what is left, spread so that a fleet whose
 * tokens were issued together does not come back together, and `marginMs` (or a tenth of what is left, if that
 * is less) before the end. A kubelet replaces a projected token at four fifths of its life, so by then the
 * client's file holds a fresh one.
 * @param random in [0, 1)
 */
export function endsAt(nowMs: number, expiresAtMs: number, marginMs: number, random: number): number {
  const leftMs = Math.min(expiresAtMs - nowMs, MAX_DELAY_MS);
  const earliestMs = leftMs * 0.8;
  const latestMs = Math.max(earliestMs, leftMs - Math.min(marginMs, leftMs * 0.1));
  return Math.floor(nowMs + earliestMs + random * (latestMs - earliestMs));
}
