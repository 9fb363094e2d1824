import { ConnectionError, ErrorCode } from './errors.ts';
import { INITIAL_WINDOW } from './frames.ts';

/** Below this the client is given what is due. */
const LOW = INITIAL_WINDOW / 2;
/** Below this a client might wait for more. */
const STALLED = 4_096;

/** What the client may send of DATA on the connection: given back once a request is whole or dropped, never earlier. */
export class ReceiveWindow {
  #left: number = INITIAL_WINDOW;
  #due = 0;

  /** A DATA frame came. @throws {ConnectionError} FLOW_CONTROL_ERROR */
  take(bytes: number): void {
    if (bytes > this.#left) {
      throw new ConnectionError(
        ErrorCode.FLOW_CONTROL_ERROR,
        "more DATA than the connection's window allows",
      );
    }
    this.#left -= bytes;
  }

  release(bytes: number): void {
    this.#due += bytes;
  }

  /** What the client is to be told that the window grows by; 0: nothing yet. */
  growth(): number {
    if (this.#left >= LOW || this.#due === 0) return 0;
    const growth = this.#due;
    this.#left += growth;
    this.#due = 0;
    return growth;
  }

  /** Requests that are not whole hold so much of it that they might wait for each other. */
  get stalled(): boolean {
    return this.#left < STALLED && this.#due === 0;
  }
}
