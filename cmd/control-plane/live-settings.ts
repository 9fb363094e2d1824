import type { MeshSettings } from '../../src/policy/index.ts';

/** The mesh's settings as they are now. Each version is one immutable value. */
export class LiveSettings {
  #current: MeshSettings;
  readonly #listeners = new Set<{ readonly call: (settings: MeshSettings) => void }>();

  constructor(settings: MeshSettings) {
    this.#current = settings;
  }

  get current(): MeshSettings {
    return this.#current;
  }

  set(settings: MeshSettings): void {
    this.#current = settings;
    for (const { call } of this.#listeners) call(settings);
  }

  /** @returns the function that stops it */
  onChange(listener: (settings: MeshSettings) => void): () => void {
    const entry = { call: listener };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }
}
