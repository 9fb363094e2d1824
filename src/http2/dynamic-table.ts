import type { Field } from './header-field.ts';

/** What SETTINGS_HEADER_TABLE_SIZE is where nothing is said of it. */
export const TABLE_BYTES = 4_096;
/** A power of two, and as many as fit into the table: each counts for 32 bytes at least. */
const PLACES = 128;

/** RFC 7541 section 2.3.2, as a ring. */
export class DynamicTable {
  readonly #fields: (Field | undefined)[] = [];
  /** Where the next one goes. */
  #next = 0;
  #count = 0;
  #bytes = 0;
  #maxBytes: number = TABLE_BYTES;

  /** @param age 0: the newest */
  at(age: number): Field | undefined {
    return age < this.#count ? this.#fields[(this.#next - 1 - age) & (PLACES - 1)] : undefined;
  }

  add(field: Field): void {
    this.#shrinkTo(this.#maxBytes - field.size);
    if (field.size > this.#maxBytes) return;
    this.#fields[this.#next] = field;
    this.#next = (this.#next + 1) & (PLACES - 1);
    this.#count += 1;
    this.#bytes += field.size;
  }

  /** @param bytes up to {@link TABLE_BYTES} */
  resize(bytes: number): void {
    this.#maxBytes = bytes;
    this.#shrinkTo(bytes);
  }

  #shrinkTo(bytes: number): void {
    while (this.#bytes > bytes && this.#count > 0) {
      const oldest = (this.#next - this.#count) & (PLACES - 1);
      this.#bytes -= this.#fields[oldest]?.size ?? 0;
      this.#fields[oldest] = undefined;
      this.#count -= 1;
    }
  }
}
