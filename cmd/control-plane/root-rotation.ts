import {
  AuthorityError,
  type Authority,
  type AuthorityErrorCode,
  type RotationStep,
} from '../../src/authority/index.ts';
import type { AuditLog } from '../../src/audit/index.ts';
import type { StreamStatus } from '../../src/discovery/index.ts';
import { SECRET_TYPE, type Proxies } from '../../src/proxy/index.ts';
import { proxyStates, type ProxyState, type Report, type SvidReport } from '../../src/status/index.ts';
import type { Logger } from '../../src/telemetry/index.ts';

/** Of those who lag, in a refusal: more than anybody looks after at once. */
const MAX_NAMED = 20;
/** Of a line about one of them, with Envoy's own words. */
const MAX_LINE = 256;
/** Who loses its control plane is back by then: Envoy waits for up to 30 s before it tries again. */
const RETURN_MS = 35_000;
/** Of the authority, which an operator is to read: the step was not taken, and nothing changed. */
const REFUSALS: ReadonlySet<AuthorityErrorCode> = new Set([
  'rotation-refused',
  'ca-missing',
  'store-conflict',
  'store-unwritable',
  'suspended',
]);
const WITHOUT_SIGNER =
  'cannot sign below the new root: the CA of that root has not arrived there or was refused, which its log and /readyz say';
/** SPIFFE_Federation section 4.1: three to five refresh hints before its use, a new key is published. */
const PUBLISHED_HINTS = 3;
/** The actor of steps that follow from the files of the operator's CA. */
export const BY_FILES: string = 'ca';
const STEPS: readonly RotationStep[] = ['prepare', 'activate', 'retire', 'abort'];

export interface RootRotationParts {
  readonly authority: Authority;
  readonly proxies: Proxies;
  readonly streams: () => readonly StreamStatus[];
  /** When this process began to serve Envoys that an earlier one may have served; ms, absent: there was none. */
  readonly takenOverMs?: number;
  /** When the last certificate ends whose holder was told another bundle and cannot acknowledge; ms, 0: none. */
  readonly unawareUntilMs: () => number;
  /** What the other replicas say of their own Envoys, by identity. */
  readonly others: () => ReadonlyMap<string, Report>;
  /** Whose Envoys nobody speaks for, a line each. */
  readonly silent: () => readonly string[];
  /** Between two fetches of the bundle by those who federate with this trust domain; undefined: nobody can fetch it. */
  readonly refreshHintMs: number | undefined;
  readonly audit: AuditLog;
  readonly log: Logger;
}

/** A step that cannot be taken now. The message says who stands in the way. */
export class RotationRefused extends Error {
  readonly code = 'ROTATION_REFUSED';
}

export function isRotationStep(text: string): text is RotationStep {
  return (STEPS as readonly string[]).includes(text);
}

/**
 * Takes the steps of a rotation, each when the one before has been proven by what the live Envoys have acknowledged:
 * nobody meets an SVID whose root it does not trust.
 */
export class RootRotation {
  readonly #parts: RootRotationParts;

  constructor(parts: RootRotationParts) {
    this.#parts = parts;
  }

  /** Who stands in the way of a step, and why, a line each; empty: nobody. */
  lagging(step: RotationStep): readonly string[] {
    const { authority, silent } = this.#parts;
    if (step === 'activate') {
      return [
        ...this.#bundleStates().lagging,
        ...this.#unaware(),
        ...this.#othersWithoutBundle(),
        ...this.#withoutSigner(),
        ...silent(),
        ...this.#unpublished(),
      ];
    }
    if (step !== 'retire') return [];
    const { otherEndsMs = 0 } = authority.rotation;
    const living =
      authority.nowMs() < otherEndsMs
        ? [`SVIDs of the former root live until ${new Date(otherEndsMs).toISOString()}`]
        : [];
    return [...this.#svidStates().lagging, ...this.#othersWithFormerSvid(), ...silent(), ...living];
  }

  /** How far bundle and SVIDs have come among the Envoys of this replica, for the others. */
  report(): Pick<Report, 'bundle' | 'svids'> {
    const { authority, unawareUntilMs } = this.#parts;
    return {
      bundle: {
        sequence: authority.bundle.sequence,
        ...counted(this.#bundleStates()),
        unawareUntilMs: unawareUntilMs(),
      },
      svids: {
        signing: authority.rotation.signing.fingerprint,
        canSign: authority.canSign,
        ...counted(this.#svidStates()),
      },
    };
  }

  /**
   * @param actor for the audit log
   * @throws RotationRefused, AuthorityError
   */
  async take(step: RotationStep, force: boolean, actor: string): Promise<void> {
    const { authority, audit, log } = this.#parts;
    const lagging = this.lagging(step);
    this.#refuseEarly(step, lagging, force);
    await this.#step(step, force, actor);
    const { signing, other } = authority.rotation;
    audit.record({
      event: 'root.rotated',
      actor,
      step,
      signing: signing.fingerprint,
      other: other?.fingerprint ?? '',
      forcedPast: lagging.slice(0, MAX_NAMED),
    });
    const about = { actor, step, signing: signing.fingerprint, forcedPast: lagging.length };
    if (lagging.length > 0) log.warn(about, 'a step of the rotation was forced');
    else log.info(about, 'a step of the rotation was taken');
  }

  #refuseEarly(step: RotationStep, lagging: readonly string[], force: boolean): void {
    if (lagging.length === 0 || force) return;
    const named = lagging.slice(0, MAX_NAMED).join('\n  ');
    const more = lagging.length > MAX_NAMED ? `\n  and ${lagging.length - MAX_NAMED} more` : '';
    throw new RotationRefused(`cannot ${step} yet:\n  ${named}${more}\nwait for them, or use --force`);
  }

  async #step(step: RotationStep, force: boolean, actor: string): Promise<void> {
    const { authority, log } = this.#parts;
    try {
      switch (step) {
        case 'prepare':
          return await authority.prepareRotation();
        case 'activate':
          return await authority.activateRotation();
        case 'retire':
          return await authority.retireRotation(force);
        case 'abort':
          // Whoever follows the operator's files goes back by itself, and forth again.
          return await authority.abortRotation(force, actor !== BY_FILES);
      }
    } catch (error) {
      if (!(error instanceof AuthorityError) || !REFUSALS.has(error.code)) throw error;
      // Who asked may not be who can mend it.
      if (error.code === 'store-unwritable') log.error({ err: error, step }, 'a step could not be kept');
      throw new RotationRefused(error.message, { cause: error });
    }
  }

  /** How live Envoys stand to the secrets of one sort that they asked for. */
  #secretStates(sort: 'bundles' | 'own SVID'): ReadonlyMap<string, ProxyState> {
    const { proxies, streams } = this.#parts;
    return proxyStates(streams(), SECRET_TYPE, (client, typeUrl, name) => {
      const own = name === 'default' || proxies.isOwnId(client, name);
      return own === (sort === 'own SVID') ? proxies.versionOf(client, typeUrl, name) : undefined;
    });
  }

  /** Live Envoys that do not run the present bundle under each name that they asked for. */
  #bundleStates(): States {
    const states = this.#secretStates('bundles');
    const lagging = [...states].flatMap(([client, state]): readonly string[] => {
      if (state.kind === 'current') return [];
      return state.kind === 'rejected'
        ? [`${client} refused the bundle: ${state.message}`]
        : [`${client} has not acknowledged the bundle yet`];
    });
    const away = this.#away();
    return { proxies: states.size + away.length, lagging: [...away, ...lagging] };
  }

  #othersWithoutBundle(): readonly string[] {
    const { authority, others } = this.#parts;
    return [...others()].flatMap(([replica, { bundle }]) => {
      if (bundle.sequence < authority.bundle.sequence)
        return [`replica ${replica} gives out an earlier bundle`];
      return [...linesOf(replica, bundle), ...this.#unaware(bundle.unawareUntilMs)];
    });
  }

  /** After a restart nobody knows who is live until they are back: who they were is not kept. */
  #away(): readonly string[] {
    const { authority, takenOverMs } = this.#parts;
    if (takenOverMs === undefined) return [];
    const untilMs = takenOverMs + RETURN_MS;
    if (authority.nowMs() >= untilMs) return [];
    const until = new Date(untilMs).toISOString();
    return [`this control plane was restarted: Envoys may be on their way back until ${until}`];
  }

  /** Below an operator's CA signs only who has that CA, whatever the shared state says. */
  #withoutSigner(): readonly string[] {
    const { authority, others } = this.#parts;
    const next = authority.rotation.other?.fingerprint;
    if (next === undefined) return [];
    const lines = authority.canSign.includes(next) ? [] : [`this replica ${WITHOUT_SIGNER}`];
    for (const [replica, { bundle, svids }] of others()) {
      // That line is there already: of this root it cannot know.
      if (bundle.sequence < authority.bundle.sequence) continue;
      if (svids.canSign === undefined)
        lines.push(
          `replica ${replica} does not say whether it can sign below the new root: it is of an earlier release, so bring it to this one`,
        );
      else if (!svids.canSign.includes(next)) lines.push(`replica ${replica} ${WITHOUT_SIGNER}`);
    }
    return lines;
  }

  #othersWithFormerSvid(): readonly string[] {
    const { authority, others } = this.#parts;
    return [...others()].flatMap(([replica, { svids }]) =>
      svids.signing === authority.rotation.signing.fingerprint
        ? linesOf(replica, svids)
        : [`replica ${replica} signs below another root`],
    );
  }

  /** Other trust domains fetch the bundle when they will: three times the hint is what they are given. */
  #unpublished(): readonly string[] {
    const { authority, refreshHintMs } = this.#parts;
    const { step, sinceMs } = authority.rotation;
    if (refreshHintMs === undefined || step !== 'prepared' || sinceMs === undefined) return [];
    const untilMs = sinceMs + PUBLISHED_HINTS * refreshHintMs;
    if (authority.nowMs() >= untilMs) return [];
    return [
      `federated trust domains may not have fetched this bundle before ${new Date(untilMs).toISOString()}: three times --bundle-refresh-hint`,
    ];
  }

  /** Agents ask, and are told nothing in between: what they hold must have been fetched since, or have ended. */
  #unaware(untilMs: number = this.#parts.unawareUntilMs()): readonly string[] {
    const { authority } = this.#parts;
    if (authority.nowMs() >= untilMs) return [];
    const until = new Date(untilMs).toISOString();
    return [
      `certificates issued for requests before this bundle live until ${until}: their holders may not know the new root`,
    ];
  }

  /** Live Envoys that run an SVID below the former root, or have not acknowledged the one below the new. */
  #svidStates(): States {
    const { authority, proxies } = this.#parts;
    const states = this.#secretStates('own SVID');
    const lagging = [...states].flatMap(([client, state]) => {
      const held = proxies.svidOf(client);
      if (held !== undefined && !authority.isCurrent(held.svid))
        return [`${client} holds an SVID of the former root`];
      return state.kind === 'current' ? [] : [`${client} has not acknowledged its new SVID yet`];
    });
    return { proxies: states.size, lagging };
  }
}

/** Live Envoys, and who of them lags and why, a line each. */
interface States {
  readonly proxies: number;
  readonly lagging: readonly string[];
}

function counted({ proxies, lagging }: States): Pick<SvidReport, 'proxies' | 'current' | 'lagging'> {
  return {
    proxies,
    current: proxies - lagging.length,
    lagging: lagging.slice(0, MAX_NAMED).map((line) => line.slice(0, MAX_LINE)),
  };
}

/** Who of another replica's Envoys lags. */
function linesOf(
  replica: string,
  { proxies, current, lagging }: Pick<SvidReport, 'proxies' | 'current' | 'lagging'>,
): readonly string[] {
  const more = proxies - current - lagging.length;
  return [
    ...lagging.map((line) => `${line} (replica ${replica})`),
    ...(more > 0 ? [`and ${more} more Envoys of replica ${replica}`] : []),
  ];
}

/** Another root signs: who holds an SVID of the former one gets a new one now. */
export async function renewForSigner(authority: Authority, proxies: Proxies, log: Logger): Promise<void> {
  const left = await proxies.renewOutdated((svid) => !authority.isCurrent(svid));
  if (left > 0) log.warn({ left }, 'SVIDs of the former root could not be renewed; each is tried again');
}
