import { BoundedAttestor, CutOffAttestor } from '../../src/attestation/index.ts';
import { Authority } from '../../src/authority/index.ts';
import { RequestRate } from '../../src/certificates/index.ts';
import { discoveryServices, type StreamStatus } from '../../src/discovery/index.ts';
import { Links } from '../../src/expiry/index.ts';
import { SpiffeId } from '../../src/identity/index.ts';
import { Mesh, namespacedKey } from '../../src/mesh/index.ts';
import { openOperatorServer } from '../../src/operator/index.ts';
import { pushOrder } from '../../src/proxy/index.ts';
import { envoySchema, operatorSchema } from '../schema.ts';
import { openEndpoint } from './bundle-endpoint.ts';
import { openFederation } from './federation.ts';
import { createAuthenticator } from './authenticator.ts';
import { moveToCa } from './ca-transition.ts';
import { publishBundle, publishedBundle } from './bundle-files.ts';
import { openCertificates } from './certificates.ts';
import { watchForJumps } from './clock-watch.ts';
import {
  authorityLinks,
  federationLinks,
  jwksLinks,
  ownLinks,
  svidLinks,
  tellExpiry,
  type OwnCertificates,
} from './expiry.ts';
import { ipAddressesOf } from './listen.ts';
import { openGrpcServer } from './grpc-server.ts';
import type { Tell } from './home.ts';
import { openInCluster } from './in-cluster.ts';
import { followIssuers, openIssuerKeys } from './issuer-keys.ts';
import { LiveSettings } from './live-settings.ts';
import { watchMeshConfig } from './mesh-config-file.ts';
import { openBelow, OwnCa, signingObserver } from './own-ca.ts';
import { RootRotation } from './root-rotation.ts';
import { rotateByAge } from './rotation-by-age.ts';
import { PolicyWarnings } from './policy-warnings.ts';
import { discoveryObserver, issuance, noticing, watchMesh, type Witnesses } from './observers.ts';
import { openProxies } from './open-proxies.ts';
import { operatorHandlers } from './operator-handlers.ts';
import { cutOffBy, enforceQuarantine } from './enforce-quarantine.ts';
import { enforcedHere } from './quarantine-enforcement.ts';
import { quarantineHandlers } from './quarantine-handlers.ts';
import { Quarantine } from './quarantine.ts';
import { servingCertificate } from './serving-certificate.ts';
import { openStandalone } from './standalone.ts';
import { Throttle } from './throttle.ts';
import type { ControlPlaneConfig } from './config.ts';

/** Of SVIDs: what a burst finds ready. */
const KEYS_AHEAD = 256;

export interface ControlPlane {
  /** Of the gRPC port, as bound. */
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * Wires the rooms in the order of the data's way. Whatever was opened before a failure is closed again.
 * @param tell what `/readyz` says
 * @param signal aborted where the start is given up: an API server may be waited for without end
 * @throws Error whose message says which file, flag or key is at fault and what to do
 */
export async function startControlPlane(
  config: ControlPlaneConfig,
  witnesses: Witnesses,
  tell: Tell,
  signal: AbortSignal,
): Promise<ControlPlane> {
  const closers: (() => void | Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).toReversed()) await close();
  };
  try {
    const address = await wire(config, witnesses, tell, signal, closers);
    return { address, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function wire(
  config: ControlPlaneConfig,
  witnesses: Witnesses,
  tell: Tell,
  signal: AbortSignal,
  closers: (() => void | Promise<void>)[],
): Promise<string> {
  const { log, metrics, audit } = witnesses;
  const { settings, trustDomain, dataDir } = config;
  const nowMs = Date.now;
  if (settings.defaultAction === 'allow') {
    log.warn(
      '--default-action allow: whoever proves an identity may call every workload without an ALLOW policy',
    );
  }
  const mesh = new Mesh({
    rootNamespace: settings.rootNamespace,
    onListenerError: (error) => log.error({ err: error }, 'a reader of the mesh failed; the others go on'),
  });
  const { directory } = config;
  closers.push(watchMesh(mesh, witnesses, directory === undefined ? 'kubernetes' : 'directory'));
  const live = new LiveSettings(settings);
  const warnings = new PolicyWarnings(mesh, live, log);
  closers.push(() => warnings.close());

  const quarantine = await Quarantine.open({ ...witnesses, dataDir, nowMs, remark: tell.remark });
  closers.push(() => quarantine.close());
  const homeOptions = { config, mesh, witnesses, tell, signal, closers, quarantine };
  const home = await (directory === undefined
    ? openInCluster(homeOptions)
    : openStandalone(directory, homeOptions));
  quarantine.useClock(() => home.endingMs());
  const { issuer, rootStore, caSource } = home;
  const attestor = new CutOffAttestor({
    inner: home.attestor,
    against: ({ id, pod }) => cutOffBy(quarantine, { id: id.uri, pod }),
  });
  const ownCa = caSource && new OwnCa(caSource, config, witnesses, tell.remark);
  if (caSource !== undefined) tell.starting(`checking the operator's CA in ${caSource.where}`);
  closers.push(() => ownCa?.close());
  const published = publishedBundle(dataDir);
  const authority = await openBelow(ownCa, rootStore, async (ca) => {
    tell.starting(`opening the root in ${rootStore.description}`);
    return await Authority.open({
      store: rootStore,
      trustDomain,
      ca,
      signingObserver: signingObserver(witnesses, tell.remark),
      rootEvidence: published,
      nowMs,
      clockFault: () => home.clockFault(),
      svidTtlMs: config.svidTtlMs,
      rootTtlMs: config.rootTtlMs,
      keysAhead: KEYS_AHEAD,
    });
  });
  closers.push(() => authority.close());
  closers.push(
    await publishBundle(authority, dataDir, (error) =>
      log.error({ err: error }, 'the trust bundle could not be written: its files are those of before'),
    ),
  );
  const keys = await openIssuerKeys(
    { dataDir, nowMs, refreshMs: config.jwksRefreshMs, allowLoopback: directory !== undefined },
    witnesses,
  );
  closers.push(() => keys.close());
  const schema = envoySchema();
  const clockFault = (): string | undefined => home.clockFault();
  const federation = await openFederation({ dataDir, live, authority, nowMs }, witnesses, tell, closers);
  const proxies = openProxies(
    { schema, mesh, live, keys, authority, quarantine, federation, nowMs, clockFault },
    witnesses,
    closers,
  );
  closers.push(enforceQuarantine(quarantine, { proxies, attestor, log, nowMs }));

  await home.fill();
  closers.push(followIssuers(mesh, keys, witnesses));

  if (config.meshConfig !== undefined) {
    const { file, flags } = config.meshConfig;
    closers.push(watchMeshConfig(file, flags, live, witnesses));
  }

  const callers = new Throttle();
  const refusals = new Throttle();
  const rejections = new Throttle();
  // Closed after the server: what was left out until then is still told.
  closers.push(() => {
    for (const throttle of [callers, refusals, rejections]) throttle.close();
  });
  const rate = new RequestRate({ perMinute: config.maxRequestsPerMinute, ticks: () => performance.now() });
  const bounded = new BoundedAttestor({
    attestor,
    maxAtOnce: config.maxConcurrentAttestations,
    isServed: ({ namespace, name, uid }) =>
      proxies.svidOf(namespacedKey(namespace, name)) !== undefined || rate.knows(uid),
    random: Math.random,
  });
  const discovery = discoveryServices({
    root: schema,
    authenticator: createAuthenticator({
      attestor: bounded,
      watch: attestor,
      proxies,
      audit,
      metrics,
      log,
      refusals: callers,
    }),
    observer: noticing(discoveryObserver(witnesses, mesh, { refusals, rejections }), () =>
      home.streamsChanged(),
    ),
    limits: config.limits,
    nowMs: () => home.nowMs(),
    random: Math.random,
    order: pushOrder,
  });
  const certificates = openCertificates({
    config,
    authority,
    schema,
    attestor: bounded,
    watch: attestor,
    witnesses,
    rate,
    callers,
    refusals,
  });
  const id = SpiffeId.workload(trustDomain, 'countersign-system', 'control-plane');
  const own: OwnCertificates = new Map();
  const serving = servingCertificate({
    authority,
    id,
    dnsNames: config.serverNames,
    ipAddresses: ipAddressesOf(config.listen),
    nowMs,
    onRenewed: (svid) => {
      own.set('serving', svid);
      audit.record({ ...issuance(svid), actor: 'control-plane', reason: 'serving', factors: [] });
      log.info({ serial: svid.serial }, 'own certificate issued');
    },
    onError: (error) => log.error({ err: error }, 'own certificate could not be renewed; it is tried again'),
  });
  closers.push(() => serving.close());
  closers.push(
    watchForJumps({
      wallMs: nowMs,
      monotonicMs: () => performance.now(),
      clockFault: () => home.clockFault(),
      onJump: (byMs) => {
        log.warn({ byMs }, 'time has passed that no timer saw: what is due is renewed now');
        serving.clockMoved();
        discovery.clockMoved();
        proxies.clockMoved();
      },
    }),
  );

  const streams = (): readonly StreamStatus[] => discovery.streams();
  const rotation = new RootRotation({
    ...witnesses,
    authority,
    proxies,
    streams,
    ...(published !== undefined && { takenOverMs: nowMs() }),
    unawareUntilMs: () => certificates.unawareUntilMs(),
    others: () => home.otherReports(),
    silent: () => home.silentReplicas(),
    refreshHintMs: config.bundleEndpoint?.refreshHintMs,
  });
  if (config.rotateRootAtAgeMs !== undefined) {
    const { rotateRootAtAgeMs: ageMs, svidTtlMs: settleMs } = config;
    closers.push(
      rotateByAge({ authority, rotation, leads: () => home.leads(), ageMs, settleMs, nowMs }, log),
    );
  }

  if (ownCa !== undefined) {
    const { svidTtlMs: settleMs } = config;
    const { remark } = tell;
    closers.push(ownCa.follow(authority, () => home.caPlugged()));
    closers.push(
      moveToCa({ authority, rotation, leads: () => home.leads(), settleMs, nowMs, remark, witnesses }),
    );
  }

  const links = new Links({ nowMs, settleMs: config.svidTtlMs });
  links.add(() => authorityLinks(authority, dataDir));
  links.add(() => ownLinks(own));
  links.add(() => svidLinks(proxies, dataDir));
  links.add(() => [home.tokenKeys()]);
  links.add(() => jwksLinks(keys, config.jwksRefreshMs));
  links.add(() => federationLinks(federation, dataDir));

  tell.starting('opening the operator socket and the gRPC port');
  const operator = await openOperatorServer({
    root: operatorSchema(),
    dataDir,
    handlers: operatorHandlers({
      authority,
      rotation,
      links,
      mesh,
      issuer,
      audience: config.audience,
      proxies,
      streams,
      federation,
      audit,
      nowMs,
      quarantine: quarantineHandlers({
        quarantine,
        mesh,
        trustDomain,
        enforcedHere: () => enforcedHere(quarantine.ledger, proxies, streams(), nowMs()),
        others: () => home.otherReports(),
        silent: () => home.silentReplicas(),
        unshared: () => home.quarantineUnshared(),
        nowMs,
        clockFault,
      }),
    }),
    onError: (error) => log.error({ err: error }, 'an operator call failed'),
  });
  closers.push(() => operator.close());

  await openEndpoint({ config, authority, id, nowMs, own }, witnesses, tell, closers);
  const server = await openGrpcServer({
    listen: config.listen,
    certificate: serving,
    discovery,
    certificates,
    schema,
    maxMessageBytes: config.limits.maxMessageBytes,
    onError: (error) => log.error({ err: error }, 'a certificate call failed inside the control plane'),
    onAcceptError: (error) =>
      callers.tell('accept', 1, (leftOut) =>
        log.error({ err: error, leftOut }, 'a connection could not be accepted; the next one is tried'),
      ),
  });
  closers.push(() => server.stop());
  server.serve();
  await home.join({ authority, proxies, streams, rotation, warnings, live, own, id });
  closers.push(tellExpiry(links, metrics, tell));
  return `${config.listen.host}:${server.port}`;
}
