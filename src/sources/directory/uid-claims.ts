/** Which objects' manifests claim which UID. */
export class UidClaims {
  readonly #uidOf = new Map<string, string>();
  readonly #claimants = new Map<string, Set<string>>();
  readonly #shared = new Set<string>();

  /** @param uid undefined: the object claims none, or is gone */
  set(object: string, uid: string | undefined): void {
    const before = this.#uidOf.get(object);
    if (before === uid) return;
    if (before !== undefined) {
      const claimants = this.#claimants.get(before);
      claimants?.delete(object);
      this.#uidOf.delete(object);
      this.#note(before, claimants);
    }
    if (uid === undefined) return;
    this.#uidOf.set(object, uid);
    const claimants = this.#claimants.get(uid) ?? new Set<string>();
    this.#claimants.set(uid, claimants.add(object));
    this.#note(uid, claimants);
  }

  /** UIDs that several objects claim, and who does. */
  *shared(): Iterable<readonly [uid: string, objects: ReadonlySet<string>]> {
    for (const uid of this.#shared) yield [uid, this.#claimants.get(uid) ?? new Set()];
  }

  #note(uid: string, claimants: ReadonlySet<string> | undefined): void {
    const count = claimants?.size ?? 0;
    if (count === 0) this.#claimants.delete(uid);
    if (count > 1) this.#shared.add(uid);
    else this.#shared.delete(uid);
  }
}
