import { isDeepStrictEqual } from 'node:util';
import type { Issue, MeshSettings } from '../../src/policy/index.ts';
import { readSmallFile } from '../mapping.ts';
import { placeOf } from '../mesh-config.ts';
import { reasonOf } from './data-dir.ts';
import type { LiveSettings } from './live-settings.ts';
import { refusedChanges, settingsOf, type SettingsFlags } from './mesh-config.ts';
import type { Witnesses } from './observers.ts';

/** How often the file is read. A new content counts when it was the same twice: it may be half written. */
const POLL_MS = 250;

/**
 * The settings at the start.
 * @throws Error with every error in the file
 */
export async function readSettings(file: string, flags: SettingsFlags): Promise<MeshSettings> {
  let text: string;
  try {
    text = await readSmallFile(file);
  } catch (failure) {
    throw new Error(`--mesh-config ${file} cannot be read: ${reasonOf(failure)}`, { cause: failure });
  }
  const { settings, issues } = settingsOf(text, flags);
  if (settings !== undefined) return settings;
  const errors = issues.filter(({ severity }) => severity === 'error');
  throw new Error(
    errors.map((issue) => `--mesh-config ${placeOf(file, issue)}: ${issue.message}`).join('\n'),
  );
}

/**
 * Follows the file of `--mesh-config`: a good version takes effect at once, a bad one is reported and leaves the
 * last good one in force.
 * @returns the function that stops it
 */
export function watchMeshConfig(
  file: string,
  flags: SettingsFlags,
  live: LiveSettings,
  witnesses: Witnesses,
): () => void {
  const report = new Report(file, witnesses);
  let seen: string | undefined;
  let judged: string | undefined;
  const look = async (): Promise<void> => {
    const content = await contentOf(file);
    const settled = content === seen;
    seen = content;
    if (closed || !settled || content === judged) return;
    judged = content;
    if (!content.startsWith(READ)) {
      report.problems([{ severity: 'error', path: '', message: `cannot be read: ${content}` }]);
      return;
    }
    const { settings, issues } = settingsOf(content.slice(READ.length), flags);
    const refused = settings === undefined ? [] : refusedChanges(live.current, settings);
    report.problems([...issues, ...refused]);
    if (settings === undefined || refused.length > 0 || isDeepStrictEqual(settings, live.current)) return;
    report.changed(live.current, settings);
    live.set(settings);
  };
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const follow = (): void => {
    void look()
      .catch((failure: unknown) => {
        report.problems([
          { severity: 'error', path: '', message: `cannot be taken over: ${reasonOf(failure)}` },
        ]);
      })
      .finally(() => {
        if (!closed) timer = setTimeout(follow, POLL_MS).unref();
      });
  };
  follow();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}

/** No reason begins like that. */
const READ = '\0';

/** Its text behind `READ`, or why there is none. */
async function contentOf(file: string): Promise<string> {
  try {
    return READ + (await readSmallFile(file));
  } catch (failure) {
    return reasonOf(failure);
  }
}

/** To the log, the audit stream and the metrics, as the directory of manifests is reported. */
class Report {
  readonly #file: string;
  readonly #witnesses: Witnesses;
  #errors = 0;

  constructor(file: string, witnesses: Witnesses) {
    this.#file = file;
    this.#witnesses = witnesses;
  }

  /** All that is wrong with the file now; what was wrong before is solved. */
  problems(issues: readonly Issue[]): void {
    const { log, audit, metrics } = this.#witnesses;
    if (this.#errors > 0) {
      metrics.problems.dec(this.#errors);
      log.info({ where: this.#file }, 'read again');
    }
    const errors = issues.filter(({ severity }) => severity === 'error');
    this.#errors = errors.length;
    metrics.problems.inc(errors.length);
    for (const issue of issues) {
      const where = placeOf(this.#file, issue);
      if (issue.severity === 'warning') log.warn({ where }, issue.message);
      else log.error({ where }, `${issue.message} (the last good version stays in force)`);
    }
    for (const issue of errors) {
      const where = placeOf(this.#file, issue);
      audit.record({ event: 'policy.rejected', actor: 'mesh-config', where, detail: issue.message });
    }
  }

  changed(before: MeshSettings, after: MeshSettings): void {
    const { log, audit } = this.#witnesses;
    const settings = (['defaultAction', 'trustDomainAliases', 'authorizers', 'federation'] as const).filter(
      (name) => !isDeepStrictEqual(before[name], after[name]),
    );
    audit.record({ event: 'settings.changed', actor: 'mesh-config', settings, after: valuesOf(after) });
    log.info({ settings }, "the mesh's settings changed");
  }
}

/** Of authorizers just who they are and where: their headers may hold what is nobody else's. */
function valuesOf({
  defaultAction,
  trustDomainAliases = [],
  authorizers = [],
  federation = [],
}: MeshSettings): {
  readonly defaultAction: string;
  readonly trustDomainAliases: readonly string[];
  readonly authorizers: readonly string[];
  readonly federation: readonly string[];
} {
  return {
    defaultAction,
    trustDomainAliases,
    federation: federation.map(({ trustDomain, url, profile }) => {
      const place = new URL(url);
      // A query may hold what is nobody else's.
      return `${trustDomain}=${place.origin}${place.pathname} ${profile.type}`;
    }),
    authorizers: authorizers.map(({ name, host, port, failOpen }) =>
      [`${name}=${host}:${port}`, ...(failOpen ? ['failOpen'] : [])].join(' '),
    ),
  };
}
