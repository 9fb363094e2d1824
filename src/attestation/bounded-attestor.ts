import { decodeJwt } from 'jose';
import { parseClaims } from './claims.ts';
import { refuseBusy } from './refusal.ts';
import type { Attestor, Peer, Verdict } from './types.ts';

/** What a token says whose bearer it is. Nothing of it is proven. */
export interface ClaimedPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface BoundedAttestorOptions {
  readonly attestor: Attestor;
  /** Callers being proven at once; those above are turned away. */
  readonly maxAtOnce: number;
  /** Whether a pod is served already. Asked of what a token claims before it is proven, so it buys a place and no more. */
  readonly isServed: (pod: ClaimedPod) => boolean;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Kept for the pods that are served already: newcomers, however many, do not shut out those who come to renew. */
const RESERVED = 1 / 4;
/** Who is turned away is told to come back after this long, and up to as long again. */
const RETRY_MS = 1_000;

/** Bounds how many callers are proven at once, and turns away newcomers before those who are served already. */
export class BoundedAttestor implements Attestor {
  readonly #options: BoundedAttestorOptions;
  #underWay = 0;

  constructor(options: BoundedAttestorOptions) {
    this.#options = options;
  }

  async attest(token: string | undefined, peer: Peer): Promise<Verdict> {
    const { attestor, random } = this.#options;
    if (!this.#hasRoomFor(token)) {
      return { ok: false, refusal: refuseBusy(Math.round(RETRY_MS * (1 + random()))) };
    }
    this.#underWay += 1;
    try {
      return await attestor.attest(token, peer);
    } finally {
      this.#underWay -= 1;
    }
  }

  #hasRoomFor(token: string | undefined): boolean {
    const { maxAtOnce, isServed } = this.#options;
    if (this.#underWay < Math.ceil(maxAtOnce * (1 - RESERVED))) return true;
    if (this.#underWay >= maxAtOnce) return false;
    const pod = podClaimedBy(token);
    return pod !== undefined && isServed(pod);
  }
}

function podClaimedBy(token: string | undefined): ClaimedPod | undefined {
  if (token === undefined) return undefined;
  let payload: Readonly<Record<string, unknown>>;
  try {
    payload = decodeJwt(token);
  } catch {
    // No token at all: it will be refused as such once there is room.
    return undefined;
  }
  const parsed = parseClaims(payload, '');
  if (!parsed.ok || parsed.claims.pod === undefined) return undefined;
  return { namespace: parsed.claims.namespace, ...parsed.claims.pod };
}
