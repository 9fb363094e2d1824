import { join } from 'node:path';
import { JwksKeeper, type JwksObserver } from '../../src/jwks/index.ts';
import type { Mesh } from '../../src/mesh/index.ts';
import type { Witnesses } from './observers.ts';

/**
 * The keys of token issuers that the mesh's RequestAuthentications name by URI; those of the last start at once.
 * @throws JwksError the folder of kept keys cannot be used
 */
export async function openIssuerKeys(
  options: {
    readonly dataDir: string;
    readonly nowMs: () => number;
    readonly refreshMs: number;
    /** Standalone mode runs beside its issuers, on one machine. */
    readonly allowLoopback: boolean;
  },
  witnesses: Witnesses,
): Promise<JwksKeeper> {
  const { dataDir, nowMs, refreshMs, allowLoopback } = options;
  return await JwksKeeper.open({
    directory: join(dataDir, 'jwks'),
    nowMs,
    random: Math.random,
    observer: observerOf(witnesses),
    refreshMs,
    minRefreshMs: Math.min(refreshMs, 60_000),
    allowLoopback,
  });
}

/**
 * Has the keeper want what the mesh names, now and after each change.
 * @returns the function that stops it
 */
export function followIssuers(mesh: Mesh, keeper: JwksKeeper, { metrics }: Witnesses): () => void {
  let before: ReadonlySet<string> = new Set();
  const want = (): void => {
    const uris = wantedUris(mesh);
    keeper.want(uris);
    const shown = new Map<string, number>();
    for (const { uri, lastGoodAtMs = 0 } of keeper.status()) {
      const name = shownUri(uri);
      // Two that are shown alike: the worse one.
      shown.set(name, Math.min(shown.get(name) ?? Infinity, lastGoodAtMs));
    }
    for (const uri of before) if (!shown.has(uri)) metrics.jwksLastGood.remove({ uri });
    before = new Set(shown.keys());
    for (const [uri, lastGoodAtMs] of shown) metrics.jwksLastGood.set({ uri }, lastGoodAtMs / 1_000);
  };
  want();
  return mesh.subscribe(({ changes }) => {
    if (changes.some(({ kind }) => kind === 'RequestAuthentication')) want();
  });
}

/** Where several rules name one URI, the longest of their times counts. */
function wantedUris(mesh: Mesh): ReadonlyMap<string, { readonly timeoutMs: number }> {
  const wanted = new Map<string, { readonly timeoutMs: number }>();
  for (const { policy } of mesh.list('RequestAuthentication')) {
    for (const { keys, timeoutMs } of policy.jwtRules) {
      if (keys.kind !== 'uri') continue;
      const known = wanted.get(keys.uri)?.timeoutMs ?? 0;
      wanted.set(keys.uri, { timeoutMs: Math.max(known, timeoutMs) });
    }
  }
  return wanted;
}

/** A URI without its user and its query, where issuers expect keys of their API: neither is for a log or a label. */
export function shownUri(text: string): string {
  const uri = URL.parse(text);
  return uri === null ? '(not a URI)' : `${uri.protocol}//${uri.host}${uri.pathname}`;
}

/** What becomes of fetches: to the log, the metrics and the audit stream. */
export function observerOf({ log, metrics, audit }: Witnesses): JwksObserver {
  return {
    fetched: (fetched, { keys, changed, secrets, unused }): void => {
      const uri = shownUri(fetched);
      metrics.jwksLastGood.set({ uri }, Date.now() / 1_000);
      if (secrets.length > 0)
        log.error({ uri, keys: secrets }, 'an issuer publishes secret keys: their owner must replace them');
      if (!changed) return;
      audit.record({ event: 'jwks.changed', actor: 'jwks', uri, keys });
      log.info({ uri, keys, unused }, 'keys of an issuer changed');
    },
    failed: (failed, message, { lastGoodAtMs, nextTryMs }): void => {
      const uri = shownUri(failed);
      metrics.jwksFailures.inc({ uri });
      const lastGood = lastGoodAtMs === undefined ? 'never' : new Date(lastGoodAtMs).toISOString();
      audit.record({ event: 'jwks.failed', actor: 'jwks', uri, detail: message, lastGood });
      const meanwhile =
        lastGoodAtMs === undefined
          ? 'tokens of this issuer are refused until there are keys'
          : 'the last good keys stay in force';
      log.warn(
        { uri, lastGood, nextTry: new Date(nextTryMs).toISOString() },
        `no new keys, ${meanwhile}: ${message}`,
      );
    },
    notKept: (error): void => {
      log.error({ err: error }, 'keys of issuers could not be kept for the next start');
    },
    listenerFailed: (error): void => {
      log.error({ err: error }, 'a change of keys could not be passed on');
    },
  };
}
