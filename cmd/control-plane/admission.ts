import {
  judge,
  openAdmissionServer,
  type AdmissionRequest,
  type DocumentJudge,
  type Judgement,
} from '../../src/admission/index.ts';
import { WebhookBundle } from '../../src/cluster/index.ts';
import type { ApiServer } from '../../src/kubernetes/index.ts';
import type { Mesh } from '../../src/mesh/index.ts';
import {
  parseAuthorizationPolicy,
  parsePeerAuthentication,
  parseRequestAuthentication,
  type Issue,
} from '../../src/policy/index.ts';
import type { ListenAddress } from './config.ts';
import type { HomeOptions, Wired } from './home.ts';
import type { Leadership } from './leadership.ts';
import type { LiveSettings } from './live-settings.ts';
import { explainListen } from './listen.ts';
import { issuance, type Witnesses } from './observers.ts';
import { warningsOf } from './policy-warnings.ts';
import { servingCertificate } from './serving-certificate.ts';
import { Throttle } from './throttle.ts';

/** The Service that the API server reaches the webhook by, in the control plane's own namespace. */
const SERVICE = 'countersign';
/** Of rules and values, for one policy: the API server waits, and whoever applies it. */
const COMPARISONS = 20_000;
const MAX_DETAIL = 1_024;

export interface AdmissionParts extends HomeOptions, Wired {
  readonly listen: ListenAddress;
  readonly api: ApiServer;
  /** The control plane's own. */
  readonly namespace: string;
  readonly leadership: Leadership;
}

/** The validating webhook; whoever leads keeps the API server's trust in it right. */
export async function openAdmission(parts: AdmissionParts): Promise<void> {
  const { live, mesh, witnesses, closers, authority, id, listen, namespace, own } = parts;
  const { log, audit } = witnesses;
  const certificate = servingCertificate({
    authority,
    id,
    dnsNames: [`${SERVICE}.${namespace}.svc`],
    ipAddresses: [],
    nowMs: Date.now,
    onRenewed: (svid) => {
      own.set('webhook', svid);
      audit.record({ ...issuance(svid), actor: 'control-plane', reason: 'serving', factors: [] });
    },
    onError: (error) =>
      log.error({ err: error }, "the webhook's certificate could not be renewed; it is tried again"),
  });
  closers.push(() => certificate.close());
  const refusals = new Throttle();
  const judges = judgesOf(mesh, live);
  const server = await explainListen('--admission', listen, async () =>
    openAdmissionServer({
      ...listen,
      credentials: certificate.current,
      judge: (request) => judge(request, judges),
      onJudged: (request, judgement) => tell(request, judgement, witnesses, refusals),
      onError: (error) => log.error({ err: error }, 'a policy could not be judged; it was refused'),
    }),
  );
  certificate.onContext((context) => server.renew(context));
  closers.push(() => refusals.close());
  closers.push(() => server.close());
  log.info({ address: `${server.address.address}:${server.address.port}` }, 'webhook port open');
  keepBundle(parts);
}

function keepBundle({ api, namespace, leadership, authority, witnesses }: AdmissionParts): void {
  const { log } = witnesses;
  const name = `countersign-${namespace}`;
  leadership.onTerm((term) => {
    const kept = new WebhookBundle({
      api,
      name,
      service: { namespace, name: SERVICE },
      bundle: () => authority.bundle.toPem(),
      monotonicMs: () => performance.now(),
      random: Math.random,
      onWritten: () => log.info({ name }, "the webhook configuration's caBundle was put right"),
      onFailing: (error) =>
        log.error(
          { err: error },
          `the caBundle of the webhook configuration ${name} cannot be kept; it is tried again`,
        ),
    });
    const unsubscribe = authority.onBundleChange(() => kept.wake());
    term.addEventListener('abort', unsubscribe);
    void kept.run(term);
  });
}

/** The validators of the policy language, and what the mesh says of a document that passes them. */
function judgesOf(mesh: Mesh, live: LiveSettings): ReadonlyMap<string, DocumentJudge> {
  const options = { rootNamespace: live.current.rootNamespace, nowMs: Date.now };
  const around = (object: Parameters<typeof warningsOf>[0]): readonly Issue[] =>
    warningsOf(object, mesh, live.current, COMPARISONS);
  return new Map<string, DocumentJudge>([
    [
      'AuthorizationPolicy',
      (document) => {
        const parsed = parseAuthorizationPolicy(document, options);
        if (!parsed.ok) return parsed.issues;
        return [...parsed.issues, ...around({ kind: 'AuthorizationPolicy', policy: parsed.policy })];
      },
    ],
    [
      'PeerAuthentication',
      (document) => {
        const parsed = parsePeerAuthentication(document, options);
        if (!parsed.ok) return parsed.issues;
        return [...parsed.issues, ...around({ kind: 'PeerAuthentication', policy: parsed.policy })];
      },
    ],
    [
      'RequestAuthentication',
      (document) => {
        const parsed = parseRequestAuthentication(document);
        if (!parsed.ok) return parsed.issues;
        return [...parsed.issues, ...around({ kind: 'RequestAuthentication', policy: parsed.policy })];
      },
    ],
  ]);
}

const KINDS: ReadonlySet<string> = new Set([
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
]);

function tell(
  request: AdmissionRequest,
  { allowed, message = '', warnings }: Judgement,
  { audit, metrics, log }: Witnesses,
  refusals: Throttle,
): void {
  const { kind, namespace, name, operation, user, dryRun } = request;
  // Whoever reaches the port may name any kind.
  const known = KINDS.has(kind.kind) ? kind.kind : 'other';
  const outcome = !allowed ? 'refused' : warnings.length > 0 ? 'warned' : 'allowed';
  metrics.judgements.inc({ kind: known, outcome });
  const where = `${kind.kind}.${kind.group} ${namespace}/${name}`.slice(0, MAX_DETAIL);
  log.debug({ where, operation, user, dryRun, outcome, warnings: warnings.length }, 'policy judged');
  if (allowed) return;
  refusals.tell(user, 1, (leftOut) =>
    audit.record({
      event: 'policy.refused',
      actor: user,
      where,
      detail: `${dryRun ? 'dry run: ' : ''}${message}`.slice(0, MAX_DETAIL),
      leftOut,
    }),
  );
}
