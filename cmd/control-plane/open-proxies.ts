import { isDeepStrictEqual } from 'node:util';
import type protobuf from 'protobufjs';
import type { Authority } from '../../src/authority/index.ts';
import type { FederationKeeper } from '../../src/federation/index.ts';
import type { JwksKeeper } from '../../src/jwks/index.ts';
import type { Mesh } from '../../src/mesh/index.ts';
import type { MeshSettings } from '../../src/policy/index.ts';
import { Proxies, ResourceEncoder } from '../../src/proxy/index.ts';
import type { LiveSettings } from './live-settings.ts';
import { holderOf, proxiesObserver, type Witnesses } from './observers.ts';
import type { Quarantine } from './quarantine.ts';
import { renewForSigner } from './root-rotation.ts';

/** What Envoys are made from. */
export interface ProxiesParts {
  readonly schema: protobuf.Root;
  readonly mesh: Mesh;
  readonly live: LiveSettings;
  readonly keys: JwksKeeper;
  readonly authority: Authority;
  readonly quarantine: Quarantine;
  readonly federation: FederationKeeper;
  readonly nowMs: () => number;
  readonly clockFault: () => string | undefined;
}

/** The connected workloads, told of every change: of the mesh, its settings, issuers' keys, and the authority. */
export function openProxies(
  { schema, mesh, live, keys, authority, quarantine, federation, nowMs, clockFault }: ProxiesParts,
  witnesses: Witnesses,
  closers: (() => void | Promise<void>)[],
): Proxies {
  const { metrics, log } = witnesses;
  const settings = (): MeshSettings => ({ ...live.current, endedTrustDomains: federation.ended() });
  const proxies = new Proxies({
    encoder: new ResourceEncoder(schema),
    mesh,
    settings: settings(),
    jwksOf: (uri) => keys.get(uri),
    trust: () => ({
      own: authority.bundle,
      federated: federation.bundles(),
      knows: (trustDomain) => federation.knows(trustDomain),
    }),
    nowMs,
    ticks: () => performance.now(),
    clockFault,
    random: Math.random,
    quarantine: ({ id, pod }) => quarantine.rulesOf({ id: id.uri, pod }),
    issue: ({ id, pod }) => {
      const start = performance.now();
      const svid = authority.issue(id, { holder: holderOf(pod) });
      metrics.issuanceSeconds.observe((performance.now() - start) / 1_000);
      return svid;
    },
    observer: proxiesObserver(witnesses),
  });
  closers.push(() => proxies.close());
  closers.push(keys.onChange((uri) => proxies.keysChanged(uri)));
  closers.push(live.onChange(() => proxies.settingsChanged(settings())));
  closers.push(authority.onBundleChange(() => proxies.bundleChanged()));
  let ended = federation.ended();
  closers.push(
    federation.onChange(() => {
      proxies.bundleChanged();
      const before = ended;
      ended = federation.ended();
      if (!isDeepStrictEqual(before, ended)) proxies.settingsChanged(settings());
    }),
  );
  closers.push(authority.onSignerChange(() => void renewForSigner(authority, proxies, log)));
  return proxies;
}
