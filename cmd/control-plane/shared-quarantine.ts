import { setTimeout as sleep } from 'node:timers/promises';
import { QuarantineObject } from '../../src/cluster/index.ts';
import { ApiServerError, type ApiServer } from '../../src/kubernetes/index.ts';
import type { HomeOptions } from './home.ts';

/** What `/readyz` says while replicas may differ. */
const REMARK = 'quarantine-sharing';

/** Who is in quarantine, as all replicas know it. */
export function quarantineObject(
  api: ApiServer,
  namespace: string,
  { quarantine, witnesses: { log }, tell: { remark } }: HomeOptions,
): QuarantineObject {
  const object: QuarantineObject = new QuarantineObject({
    api,
    namespace,
    own: () => quarantine.ledger,
    follow: async (ledger) => await quarantine.follow(ledger, object.description),
    current: (ledger) => quarantine.current(ledger),
    monotonicMs: () => performance.now(),
    random: Math.random,
    onTrouble: (why, error) => {
      remark(REMARK, why);
      if (why === undefined) log.info('the quarantine is shared with the other replicas again');
      else log.error({ err: error }, `the quarantine is not shared: ${why}; it is tried again`);
    },
  });
  return object;
}

/**
 * Before anybody is served: what other replicas decided must not be unknown to one that starts. One that knows what was
 * in force when it ran last may start on that, where the API server cannot be asked.
 * @throws Error where the object is damaged, and this replica knows of nothing else
 */
export async function readShared(
  object: QuarantineObject,
  { quarantine, witnesses: { log }, tell, signal }: HomeOptions,
): Promise<void> {
  tell.starting(`reading ${object.description}`);
  for (;;) {
    try {
      await object.read(signal);
      return;
    } catch (error) {
      if (signal.aborted) throw error;
      if (quarantine.isKept) {
        log.error({ err: error }, 'who is in quarantine is what an earlier run knew');
        return;
      }
      if (!(error instanceof ApiServerError)) throw error;
      log.error({ err: error }, `${object.description} cannot be read; it is tried again`);
      await sleep(1_000, undefined, { signal });
    }
  }
}

/** @returns stops it */
export function shareQuarantine(object: QuarantineObject, { quarantine }: HomeOptions): () => Promise<void> {
  const stopping = new AbortController();
  const done = object.run(stopping.signal);
  const unsubscribe = quarantine.onChange(() => object.publish());
  return async () => {
    unsubscribe();
    stopping.abort();
    await done;
  };
}
