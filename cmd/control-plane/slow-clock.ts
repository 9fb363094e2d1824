/**
 * A clock that follows `wallMs` back, and forward no faster than time passes by a clock that nobody sets: what lasts by
 * it lasts as long as it should, or longer. It jumps with a restart alone.
 */
export function slowClock(wallMs: () => number, monotonicMs: () => number): () => number {
  let saidMs = wallMs();
  let atMs = monotonicMs();
  return () => {
    const ticksMs = monotonicMs();
    saidMs = Math.min(wallMs(), saidMs + ticksMs - atMs);
    atMs = ticksMs;
    return saidMs;
  };
}
