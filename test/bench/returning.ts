import { monotonicMs } from './clock.ts';
import type { Returned } from './fleet.ts';
import { Sidecar, type SidecarIdentity, type SidecarTarget } from './sidecar.ts';
import type { DeltaMessages } from './xds-messages.ts';

/** Between two tries, each drawn from nothing to the present step: as Envoy does it. */
const BACK_OFF = { firstMs: 500, mostMs: 30_000 };

/** Sidecars whose server is gone, on their way to another. */
export class Returning {
  readonly #sidecars: readonly SidecarIdentity[];
  readonly #target: SidecarTarget;
  readonly #messages: DeltaMessages;
  readonly #all: PromiseWithResolvers<Returned> = Promise.withResolvers();
  readonly #connected = new Set<Sidecar>();
  readonly #lostMs: number[] = [];
  readonly #completeMs: number[] = [];
  #tries = 0;
  #closed = false;

  /** @param target where they go */
  constructor(sidecars: readonly SidecarIdentity[], target: SidecarTarget, messages: DeltaMessages) {
    this.#sidecars = sidecars;
    this.#target = target;
    this.#messages = messages;
    // Whoever asks hears of it; until then it is no unhandled one.
    this.#all.promise.catch(() => {});
  }

  /** When all of them hold everything again. @throws Error one of them lost that again */
  get all(): Promise<Returned> {
    return this.#all.promise;
  }

  lost(identity: SidecarIdentity): void {
    this.#lostMs.push(monotonicMs());
    this.#later(identity, BACK_OFF.firstMs);
  }

  close(): void {
    this.#closed = true;
    for (const sidecar of this.#connected) sidecar.close();
  }

  #later(identity: SidecarIdentity, stepMs: number): void {
    setTimeout(() => this.#try(identity, stepMs), Math.random() * stepMs);
  }

  #try(identity: SidecarIdentity, stepMs: number): void {
    if (this.#closed) return;
    this.#tries += 1;
    let complete = false;
    const sidecar = new Sidecar(identity, this.#target, this.#messages, {
      message: () => {},
      complete: (atMs) => {
        complete = true;
        this.#completeMs.push(atMs);
        if (this.#completeMs.length === this.#sidecars.length) this.#allBack();
      },
      failed: (why) => {
        this.#connected.delete(sidecar);
        if (complete)
          this.#all.reject(new Error(`${identity.name} was back, and lost its stream again: ${why}`));
        else this.#later(identity, Math.min(2 * stepMs, BACK_OFF.mostMs));
      },
    });
    this.#connected.add(sidecar);
  }

  #allBack(): void {
    this.#all.resolve({ lostMs: this.#lostMs, completeMs: this.#completeMs, tries: this.#tries });
  }
}
