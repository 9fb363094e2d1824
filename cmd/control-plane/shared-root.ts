import { join } from 'node:path';
import { directoryKeyStore, type Authority } from '../../src/authority/index.ts';
import { BundlePublisher, RootFollower, RootSecret, type MeshMark } from '../../src/cluster/index.ts';
import type { ApiServer } from '../../src/kubernetes/index.ts';
import type { HomeOptions } from './home.ts';
import type { Leadership } from './leadership.ts';

/** What `/readyz` says while nothing is signed. */
const REMARK = 'signing';

/**
 * The Secret that holds the root of all replicas, with its copy in the data directory.
 * @param away the API server was waited for already
 */
export function rootSecret(
  api: ApiServer,
  mark: MeshMark,
  { config, witnesses: { log }, signal }: HomeOptions,
  away: boolean,
): RootSecret {
  return new RootSecret({
    ...(away && { times: { patienceMs: 0, retryMs: 1_000 } }),
    api,
    mark,
    copy: directoryKeyStore(join(config.dataDir, 'authority')),
    signal,
    monotonicMs: () => performance.now(),
    random: Math.random,
    onAway: (error) =>
      log.error({ err: error }, 'the API server is away; it is asked for the root until it answers'),
    onCopyServes: () => log.warn('the root is the one that an earlier run knew'),
    onCopyFailed: (error) =>
      log.error(
        { err: error },
        'the copy of the root could not be used: a start without the API server would wait',
      ),
  });
}

/** The authority keeps to what the Secret holds. @returns stops it, or looks at it again */
export function followRoot(
  api: ApiServer,
  secret: RootSecret,
  authority: Authority,
  { witnesses, tell: { remark } }: HomeOptions,
): { stop(): Promise<void>; again(): void } {
  const { log, metrics, audit } = witnesses;
  const actor = secret.description;
  metrics.suspended.set(0);
  const follower = new RootFollower({
    api,
    secret,
    authority,
    random: Math.random,
    monotonicMs: () => performance.now(),
    observer: {
      followed: () => {
        const { step, signing, other } = authority.rotation;
        log.info(
          { step, signing: signing.fingerprint },
          'a step of the rotation that another replica took is followed',
        );
        audit.record({
          event: 'root.followed',
          actor,
          step,
          signing: signing.fingerprint,
          other: other?.fingerprint ?? '',
        });
      },
      suspended: (why) => {
        metrics.suspended.set(1);
        remark(REMARK, `suspended: ${why}`);
        log.error({ why }, 'nothing is signed until the root is restored; what is out goes on being served');
        audit.record({ event: 'signing.suspended', actor, detail: why });
      },
      resumed: () => {
        metrics.suspended.set(0);
        remark(REMARK, undefined);
        log.info('the root is there again, and signs');
        audit.record({ event: 'signing.resumed', actor });
      },
      failed: (error) =>
        log.error({ err: error }, `${secret.description} cannot be followed; it is tried again`),
      recovered: () => log.info(`${secret.description} is followed again`),
    },
  });
  const stopped = new AbortController();
  const done = follower.run(stopped.signal);
  return {
    again: () => follower.again(),
    stop: async () => {
      stopped.abort();
      await done;
    },
  };
}

/** While this replica leads, it keeps the trust bundle in every namespace. @param onOwners as of the publisher */
export function publishInCluster(
  api: ApiServer,
  mark: MeshMark,
  authority: Authority,
  leadership: Leadership,
  { witnesses }: HomeOptions,
  onOwners: () => void,
): BundlePublisher {
  const { log, metrics } = witnesses;
  const publisher = new BundlePublisher({
    api,
    mark,
    bundle: () => authority.bundle,
    onBundleChange: (listener) => authority.onBundleChange(listener),
    random: Math.random,
    monotonicMs: () => performance.now(),
    onOwners,
    observer: {
      written: (path) => {
        metrics.bundleWrites.inc();
        log.debug({ path }, 'trust bundle written');
      },
      taken: (path, otherMesh) => {
        metrics.bundleConflicts.inc();
        log.error(
          { path, otherMesh },
          'this object is that of another mesh, and is left alone, as the statuses of policies beside it are',
        );
      },
      failed: (path, error) =>
        log.error({ path, err: error }, 'the trust bundle could not be written; it is tried again'),
      unfollowed: (resource, error) =>
        log.error({ resource, err: error }, 'cannot be followed for the trust bundle; it is tried again'),
      followed: (resource) => log.info({ resource }, 'followed again for the trust bundle'),
    },
  });
  leadership.onTerm((term) => void publisher.run(term));
  return publisher;
}
