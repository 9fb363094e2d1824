import type { Call } from './call.ts';

/** Streams that we ended whose client may not know yet: as many as a client may open before it is told of fewer. */
const MAX_LEFT = 512;

/** Which streams there are, and were. */
export class Streams {
  readonly open: Map<number, Call> = new Map();
  /** Ended by us before the client ended its side: what it sent until it knew is let by. */
  readonly left: Set<number> = new Set();
  /** The highest that the client opened. */
  last = 0;
  /** The highest that was not refused. */
  lastTaken = 0;

  leave(stream: number): void {
    this.left.add(stream);
    if (this.left.size <= MAX_LEFT) return;
    for (const oldest of this.left) {
      this.left.delete(oldest);
      break;
    }
  }

  /** @returns the last one whose request is not whole, if there is another one like it */
  youngestOfTheUnfinished(): Call | undefined {
    let count = 0;
    let youngest: Call | undefined;
    for (const call of this.open.values()) {
      if (call.requestEnded) continue;
      count += 1;
      youngest = call;
    }
    return count > 1 ? youngest : undefined;
  }
}
