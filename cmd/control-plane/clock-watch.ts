const EVERY_MS = 1_000;
/** Between two looks; what time servers correct is less. */
const JUMP_MS = 2_000;

export interface ClockWatch {
  /** The clock that certificates are dated by, ms since the epoch. */
  readonly wallMs: () => number;
  /** A clock that only goes forward, and stands while the machine sleeps. */
  readonly monotonicMs: () => number;
  /** Why the first clock is not to be believed now; undefined: it is. Until then nothing is told. */
  readonly clockFault: () => string | undefined;
  /** @param byMs below 0: it was set back */
  readonly onJump: (byMs: number) => void;
}

/**
 * Tells when time has passed that no timer saw: the clock was set, the machine slept, or it was frozen. What waits for
 * a timer would be late by as much.
 * @returns stops it
 */
export function watchForJumps({ wallMs, monotonicMs, clockFault, onJump }: ClockWatch): () => void {
  const ahead = (): number => wallMs() - monotonicMs();
  let last = ahead();
  /** A clock that goes wrong and comes right again adds up to nothing. */
  let untoldMs = 0;
  const timer = setInterval(() => {
    const now = ahead();
    const byMs = now - last;
    last = now;
    if (Math.abs(byMs) >= JUMP_MS) untoldMs += byMs;
    if (Math.abs(untoldMs) < JUMP_MS || clockFault() !== undefined) return;
    const told = untoldMs;
    untoldMs = 0;
    onJump(told);
  }, EVERY_MS).unref();
  return () => clearInterval(timer);
}
