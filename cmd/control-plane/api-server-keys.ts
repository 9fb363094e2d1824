import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseJwks } from '../../src/attestation/index.ts';
import { writeWhole } from '../../src/files/index.ts';
import { ApiServerError, textAt, type ApiServer } from '../../src/kubernetes/index.ts';
import type { Logger } from '../../src/telemetry/index.ts';

type Jwks = ReturnType<typeof parseJwks>;

/** Who signs the API server's tokens. */
export interface IssuerKeys {
  /** `iss` of the tokens. */
  readonly issuer: string;
  readonly jwks: Jwks;
  /** The keys as they are now. */
  readonly fetch: () => Promise<unknown>;
  /** They are those of an earlier run: the API server was waited for, and is away. */
  readonly remembered: boolean;
  /** Writes the keys down, for a start without the API server. */
  readonly keep: (jwks: Jwks) => Promise<void>;
}

/**
 * How long a start waits for the API server, where an earlier run wrote the keys down; and for one answer: one that is
 * frozen takes connections and never answers, and callers whose key is unknown wait for this.
 */
const patienceMs = 5_000;
const retryMs = 1_000;

/**
 * From the API server (OIDC discovery, and `/openid/v1/jwks`); where it is away, as an earlier run knew them.
 * @param options.issuer undefined: as the API server says
 * @throws ApiServerError the API server answers, and not with its keys; or `signal` was aborted
 */
export async function openIssuerKeys(options: {
  readonly api: ApiServer;
  readonly file: string;
  readonly issuer: string | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
}): Promise<IssuerKeys> {
  const { api, file, log, signal } = options;
  const fetch = async (): Promise<unknown> => await api.get('/openid/v1/jwks', { timeoutMs: patienceMs });
  const deadlineMs = performance.now() + patienceMs;
  for (let failures = 0; ; failures += 1) {
    try {
      const issuer = options.issuer ?? (await issuerOf(api, signal));
      const jwks = parseJwks(await fetch());
      await keep(file, issuer, jwks);
      return { issuer, jwks, fetch, remembered: false, keep: (newer) => keep(file, issuer, newer) };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ApiServerError) || !error.away) throw error;
      if (failures === 0) log.error({ err: error }, 'the API server is away; it is asked until it answers');
      const kept = performance.now() > deadlineMs ? read(file) : undefined;
      if (kept !== undefined) {
        const issuer = options.issuer ?? kept.issuer;
        log.warn({ issuer }, 'tokens are verified with the keys that an earlier run knew');
        const { jwks } = kept;
        return { issuer, jwks, fetch, remembered: true, keep: (newer) => keep(file, issuer, newer) };
      }
    }
    await sleep(retryMs * (0.5 + Math.random()), undefined, { signal });
  }
}

async function issuerOf(api: ApiServer, signal: AbortSignal): Promise<string> {
  const asked = await api.get('/.well-known/openid-configuration', { signal, timeoutMs: patienceMs });
  const issuer = textAt(asked, 'issuer');
  if (issuer !== undefined) return issuer;
  throw new Error('the API server does not say who issues its tokens: name the issuer with --token-issuer');
}

async function keep(file: string, issuer: string, jwks: Jwks): Promise<void> {
  await writeWhole(
    file,
    `${JSON.stringify({ issuer, jwks }, undefined, 2)}
`,
  );
}

/** @throws Error the file is there, and is not what was written */
function read(file: string): { issuer: string; jwks: Jwks } | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const { issuer, jwks } = JSON.parse(readFileSync(file, 'utf8')) as { issuer: unknown; jwks: unknown };
    if (typeof issuer !== 'string' || issuer === '') throw new Error('it names no issuer');
    return { issuer, jwks: parseJwks(jwks) };
  } catch (error) {
    throw new Error(`${file} cannot be read: ${String(error)}. Remove it; it is written anew.`, {
      cause: error,
    });
  }
}
