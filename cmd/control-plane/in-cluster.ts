import { join } from 'node:path';
import { ApiServerReviewer, JwksFollower, LocalAttestor } from '../../src/attestation/index.ts';
import { ApiServer, openAccess } from '../../src/kubernetes/index.ts';
import { KubernetesSource } from '../../src/sources/kubernetes/index.ts';
import { defaultNamespace } from './config.ts';
import type { Home, HomeOptions } from './home.ts';
import { openIssuerKeys } from './issuer-keys.ts';
import { kubernetesReports } from './kubernetes-reports.ts';
import { Leadership } from './leadership.ts';

/** A TokenReview takes milliseconds: whoever waits for one is an Envoy that could be served. */
const reviewTimeoutMs = 3_000;

/** Kubernetes: pods and policies from the API server, which also issues the tokens. */
export async function openInCluster(options: HomeOptions): Promise<Home> {
  const { config, mesh, witnesses, starting, signal, closers } = options;
  const { log } = witnesses;
  const monotonicMs = (): number => performance.now();
  const access = openAccess(config.kubeconfig, monotonicMs);
  const api = new ApiServer({ access });
  closers.push(() => api.close());
  const namespace = config.namespace ?? access.namespace ?? defaultNamespace;
  const leadership = new Leadership(api, namespace, witnesses);

  starting(`asking the API server at ${access.server} for the keys of its tokens`);
  const keys = await openIssuerKeys({
    api,
    file: join(config.dataDir, 'issuer-keys.json'),
    issuer: config.tokenIssuer,
    log,
    signal,
  });
  const follower = new JwksFollower({
    fetch: keys.fetch,
    initial: keys.jwks,
    monotonicMs,
    random: Math.random,
    onChange: (jwks) => {
      log.info({ keys: jwks.keys.map(({ kid }) => kid) }, 'the API server signs tokens with other keys now');
      keys.keep(jwks);
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
    nowMs: Date.now,
    peerAddress: config.peerAddress,
    review: { reviewer, mode: config.tokenReview },
  });
  return {
    attestor,
    issuer: undefined,
    fill: async () => {
      const tell = kubernetesReports(witnesses);
      starting(`listing what is in the API server at ${access.server}`);
      const source = await KubernetesSource.open(
        {
          api,
          mesh,
          random: Math.random,
          monotonicMs,
          rootNamespace: config.settings.rootNamespace,
          stateFile: join(config.dataDir, 'mesh.json'),
          onReport: (report) => {
            tell(report);
            // An API server that was away may be one with other keys.
            if (report.kind === 'recovered') follower.lookAnew();
          },
        },
        signal,
      );
      closers.push(() => source.close());
    },
    join: () => {
      closers.push(() => leadership.stop());
      leadership.start();
    },
  };
}
