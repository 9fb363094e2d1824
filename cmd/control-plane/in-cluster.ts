import { join } from 'node:path';
import { ApiServerReviewer, JwksFollower, LocalAttestor } from '../../src/attestation/index.ts';
import { CaSecret, ReplicaPods, ReplicaReports } from '../../src/cluster/index.ts';
import { ApiServer, openAccess, ServerClock } from '../../src/kubernetes/index.ts';
import { KubernetesSource } from '../../src/sources/kubernetes/index.ts';
import { openAdmission } from './admission.ts';
import { defaultNamespace, type CaConfig } from './config.ts';
import type { Home, HomeOptions } from './home.ts';
import { openIssuerKeys } from './api-server-keys.ts';
import { kubernetesReports } from './kubernetes-reports.ts';
import { Leadership } from './leadership.ts';
import { caFiles, type CaSource } from './own-ca.ts';
import type { Witnesses } from './observers.ts';
import { PolicyStatuses } from './policy-status.ts';
import { enforcedHere } from './quarantine-enforcement.ts';
import { followRoot, publishInCluster, rootSecret } from './shared-root.ts';
import { quarantineObject, readShared, shareQuarantine } from './shared-quarantine.ts';

/** A TokenReview takes milliseconds: whoever waits for one is an Envoy that could be served. */
const reviewTimeoutMs = 3_000;

/** What SVIDs are dated back by covers half of it; a cluster whose clocks differ by more is broken. */
const mostSkewMs = 60_000;

/** Tells when the own clock goes wrong, and when it is right again. @returns stops it */
function watchClock(clock: ServerClock, { witnesses, tell }: HomeOptions): () => void {
  const { log, metrics, audit } = witnesses;
  let wrong = false;
  const timer = setInterval(() => {
    metrics.clockSkew.set(clock.skewMs / 1_000);
    const fault = clock.fault();
    tell.remark('clock', fault);
    if (wrong === (fault !== undefined)) return;
    wrong = fault !== undefined;
    if (fault === undefined) {
      log.info('the clock is right again, and what is due is signed');
      audit.record({ event: 'signing.resumed', actor: 'clock' });
    } else {
      log.error(
        { why: fault },
        'nothing is signed until the clock is right; what is out goes on being served',
      );
      audit.record({ event: 'signing.suspended', actor: 'clock', detail: fault });
    }
  }, 1_000);
  timer.unref();
  return () => clearInterval(timer);
}

/** @returns stops it, and takes back what was reported */
function runReports(pods: ReplicaPods, reports: ReplicaReports): () => Promise<void> {
  const stopping = new AbortController();
  const done = Promise.all([pods.run(stopping.signal), reports.run(stopping.signal)]);
  return async () => {
    stopping.abort();
    await done;
  };
}

function caSourceOf(
  ca: CaConfig | undefined,
  api: ApiServer,
  namespace: string,
  { log }: Witnesses,
): CaSource | undefined {
  if (ca === undefined) return undefined;
  if (ca.kind === 'files') return caFiles(ca);
  return new CaSecret({
    api,
    namespace,
    name: ca.name,
    random: Math.random,
    monotonicMs: () => performance.now(),
    onFailing: (error) =>
      log.error({ err: error }, 'the Secret with the CA cannot be read; it is tried again'),
    onRecovered: () => log.info('the Secret with the CA can be read again'),
  });
}

/** Kubernetes: pods and policies from the API server, which also issues the tokens. */
export async function openInCluster(options: HomeOptions): Promise<Home> {
  const { config, mesh, witnesses, tell, signal, closers } = options;
  const { log, metrics } = witnesses;
  const monotonicMs = (): number => performance.now();
  const access = openAccess(config.kubeconfig, monotonicMs);
  const clock = new ServerClock({ wallMs: Date.now, monotonicMs, mostSkewMs });
  const api = new ApiServer({ access, onDate: (date) => clock.heard(date) });
  closers.push(() => api.close());
  closers.push(watchClock(clock, options));
  const namespace = config.namespace ?? access.namespace ?? defaultNamespace;
  const mark = { trustDomain: config.trustDomain.name, namespace };
  const shared = quarantineObject(api, namespace, options);
  const leadership = new Leadership(api, namespace, witnesses);
  let source: KubernetesSource | undefined;
  let statuses: PolicyStatuses | undefined;
  let caPlugged = (): void => {};
  const seeing = {
    api,
    namespace,
    monotonicMs,
    random: Math.random,
    onFailing: (what: string, error: unknown): void =>
      log.error({ err: error }, `${what} cannot be kept or read; it is tried again`),
    onRecovered: (what: string): void => log.info(`${what} is there again`),
  };
  const pods = new ReplicaPods({ ...seeing, onChange: () => statuses?.othersChanged() });
  const reports = new ReplicaReports({
    ...seeing,
    identity: leadership.identity,
    pods,
    onChange: () => statuses?.othersChanged(),
    onSilent: (lines) => {
      metrics.silentReplicas.set(lines.length);
      if (lines.length > 0) log.warn({ silent: lines }, 'nobody speaks for the Envoys of some replicas');
      else log.info('every replica that is ready reports');
    },
  });

  tell.starting(`asking the API server at ${access.server} for the keys of its tokens`);
  const keys = await openIssuerKeys({
    api,
    file: join(config.dataDir, 'issuer-keys.json'),
    issuer: config.tokenIssuer,
    log,
    signal,
  });
  const secret = rootSecret(api, mark, options, keys.remembered);
  let fetchedAtMs = keys.remembered ? undefined : Date.now();
  const follower = new JwksFollower({
    fetch: async () => {
      const jwks = await keys.fetch();
      fetchedAtMs = Date.now();
      return jwks;
    },
    initial: keys.jwks,
    monotonicMs,
    random: Math.random,
    onChange: (jwks) => {
      log.info({ keys: jwks.keys.map(({ kid }) => kid) }, 'the API server signs tokens with other keys now');
      keys.keep(jwks).catch((error: unknown) => log.error({ err: error }, 'they could not be written down'));
    },
    onFailure: (error) => log.warn({ err: error }, 'the keys of tokens could not be looked at anew'),
  });
  closers.push(() => follower.close());
  const reviewer = new ApiServerReviewer({
    create: async (spec) =>
      await api.post(
        '/apis/authentication.k8s.io/v1/tokenreviews',
        { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec },
        { timeoutMs: reviewTimeoutMs },
      ),
    audience: config.audience,
    monotonicMs,
    onUnavailable: (error) =>
      log.error(
        { err: error, mode: config.tokenReview },
        'the API server reviews no tokens; --token-review says what is done about it',
      ),
    onAvailable: () => log.info('the API server reviews tokens again'),
  });
  const attestor = new LocalAttestor({
    jwks: follower,
    issuer: keys.issuer,
    audience: config.audience,
    trustDomain: config.trustDomain,
    mesh,
    nowMs: () => clock.laterMs(),
    peerAddress: config.peerAddress,
    review: { reviewer, mode: config.tokenReview },
  });
  return {
    attestor,
    issuer: undefined,
    caSource: caSourceOf(config.ca, api, namespace, witnesses),
    nowMs: () => clock.laterMs(),
    clockFault: () => clock.fault(),
    endingMs: () => (clock.fault() === undefined ? Date.now() : undefined),
    tokenKeys: () => ({
      kind: 'token-keys',
      name: keys.issuer,
      serves: 'tokens of keys that are new are refused, and those of keys that were withdrawn are not',
      term: { kind: 'fetched', atMs: fetchedAtMs, everyMs: 300_000 },
      run: 'kubectl get --raw /openid/v1/jwks',
    }),
    rootStore: secret,
    streamsChanged: () => statuses?.touch(),
    otherReports: () => reports.others,
    quarantineUnshared: () => shared.trouble,
    silentReplicas: () => reports.silent(),
    fill: async () => {
      await readShared(shared, options);
      const report = kubernetesReports(witnesses, tell.remark);
      tell.starting(`listing what is in the API server at ${access.server}`);
      source = await KubernetesSource.open(
        {
          api,
          mesh,
          random: Math.random,
          monotonicMs,
          rootNamespace: config.settings.rootNamespace,
          stateFile: join(config.dataDir, 'mesh.json'),
          ...(keys.remembered && { patienceMs: 0 }),
          onReport: (what) => {
            report(what);
            if (what.kind === 'policy' || what.kind === 'policy-gone') statuses?.touch();
            // An API server that was away may be one with other keys.
            if (what.kind === 'recovered') follower.lookAnew();
          },
        },
        signal,
      );
      closers.push(() => source?.close());
    },
    join: async (wired) => {
      const { rotation, authority, warnings, live, proxies, streams } = wired;
      const { quarantine } = options;
      const publisher = publishInCluster(api, mark, authority, leadership, options, () =>
        statuses?.othersChanged(),
      );
      const opened = new PolicyStatuses({
        ...witnesses,
        ...wired,
        api,
        mesh,
        policies: () => source?.policies() ?? [],
        rotation,
        isOurs: (name) => publisher.isOurs(name),
        quarantine: () => enforcedHere(quarantine.ledger, proxies, streams(), Date.now()),
        reports,
        identity: leadership.identity,
      });
      statuses = opened;
      closers.push(() => opened.close());
      closers.push(mesh.subscribe(() => opened.touch()));
      closers.push(authority.onBundleChange(() => opened.touch()));
      closers.push(authority.onSignerChange(() => opened.touch()));
      closers.push(live.onChange(() => opened.touch()));
      closers.push(quarantine.onChange(() => opened.touch()));
      closers.push(shareQuarantine(shared, options));
      warnings.onChange(() => opened.touch());
      leadership.onTerm((term) => {
        opened.lead(term);
        void reports.sweep(term);
      });
      if (config.admission !== undefined)
        await openAdmission({ ...options, ...wired, listen: config.admission, api, namespace, leadership });
      closers.push(runReports(pods, reports));
      const root = followRoot(api, secret, authority, options);
      closers.push(() => root.stop());
      caPlugged = () => {
        root.again();
        // The others are told what this replica can sign below.
        opened.touch();
      };
      closers.push(() => leadership.stop());
      leadership.start();
    },
    leads: () => leadership.leading,
    caPlugged: () => caPlugged(),
  };
}
