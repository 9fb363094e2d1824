import { describeRoot, type Authority, type IssuedChain } from '../../src/authority/index.ts';
import type { Link, LinkFacts, Links } from '../../src/expiry/index.ts';
import type { FederationKeeper } from '../../src/federation/index.ts';
import type { JwksKeeper } from '../../src/jwks/index.ts';
import type { Proxies } from '../../src/proxy/index.ts';
import type { Metrics } from '../../src/telemetry/index.ts';
import type { Tell } from './home.ts';
import { shownUri } from './issuer-keys.ts';
import { rootLinks } from './root-links.ts';

const EVERY_MS = 5_000;
/** Its place in `/readyz`. */
const PLACE = 'expiry';

/** The control plane's own certificates, by the port that shows them. */
export type OwnCertificates = Map<
  'serving' | 'webhook' | 'bundle-endpoint',
  Pick<IssuedChain, 'notBeforeMs' | 'notAfterMs'>
>;

export function authorityLinks(authority: Authority, dataDir: string): readonly LinkFacts[] {
  const { rotation, signer, bundle } = authority;
  const { plugged, where } = signer;
  const links = rootLinks({
    signing: rotation.signing,
    other: rotation.other,
    step: rotation.step,
    bundle: bundle.x509Authorities.map((certificate) =>
      describeRoot({ certificate: Buffer.from(certificate) }),
    ),
    plugged,
    dataDir,
  });
  const ca: LinkFacts[] = plugged
    ? [
        {
          kind: 'ca',
          name: where,
          serves: 'nothing is signed below it any more',
          term: { kind: 'until', fromMs: signer.notBeforeMs, untilMs: signer.notAfterMs },
          run: `put a new CA in the place of the one in ${where}, then: countersign rotate status --data-dir ${dataDir}`,
        },
      ]
    : [];
  // An operator's CA that signs leaves itself is both.
  if (plugged && signer.intermediateNotAfterMs === signer.notAfterMs) return [...links, ...ca];
  return [
    ...links,
    ...ca,
    {
      kind: 'intermediate',
      name: 'of this replica',
      serves: 'no SVID is issued',
      term: {
        kind: 'until',
        fromMs: signer.intermediateNotBeforeMs,
        untilMs: signer.intermediateNotAfterMs,
      },
      run: plugged
        ? `bring the key in ${where} back: the log says why it does not sign`
        : `see the log, and restart the control plane`,
    },
  ];
}

/** The certificates that the control plane shows. */
export function ownLinks(own: OwnCertificates): readonly LinkFacts[] {
  const serves = {
    serving: 'no Envoy can connect to the control plane',
    webhook: 'the API server refuses every policy',
    'bundle-endpoint': 'other trust domains get no newer bundle',
  } as const;
  return [...own].map(([kind, { notBeforeMs, notAfterMs }]) => ({
    kind,
    name: 'of this replica',
    serves: serves[kind],
    term: { kind: 'until', fromMs: notBeforeMs, untilMs: notAfterMs },
    run:
      kind === 'bundle-endpoint'
        ? 'put a new certificate in the place of --bundle-endpoint-cert; where there is none, see the log, and restart the control plane'
        : 'see the log, and restart the control plane',
  }));
}

/** The SVID that ends first, of those that connected Envoys hold. */
export function svidLinks(proxies: Proxies, dataDir: string): readonly LinkFacts[] {
  const found = proxies.soonestSvid();
  if (found === undefined) return [];
  const { pod, svid } = found;
  return [
    {
      kind: 'svid',
      name: pod,
      serves: 'its peers refuse it',
      term: { kind: 'until', fromMs: svid.issuedAtMs, untilMs: svid.notAfterMs },
      run: `countersign renew --pod ${pod} --data-dir ${dataDir}`,
    },
  ];
}

export function jwksLinks(keys: JwksKeeper, everyMs: number): readonly LinkFacts[] {
  return keys.status().map(({ uri, lastGoodAtMs }) => ({
    kind: 'jwks',
    name: shownUri(uri),
    serves: 'requests with tokens of this issuer are refused',
    term: { kind: 'fetched', atMs: lastGoodAtMs, everyMs },
    run: `curl -fsS ${shownUri(uri)}`,
  }));
}

export function federationLinks(federation: FederationKeeper, dataDir: string): readonly LinkFacts[] {
  return federation.status().flatMap(({ trustDomain, bundle, fetchedAtMs, refreshMs }) => {
    const of = {
      name: trustDomain,
      serves: 'callers of that trust domain are refused',
      run: `countersign federation list --data-dir ${dataDir}`,
    };
    const roots = (bundle?.x509Authorities ?? []).map((certificate) => describeRoot({ certificate }));
    const last = roots.toSorted((a, b) => b.notAfterMs - a.notAfterMs)[0];
    const fetched: LinkFacts = {
      ...of,
      kind: 'federated-bundle',
      term: { kind: 'fetched', atMs: fetchedAtMs, everyMs: refreshMs },
    };
    if (last === undefined) return [fetched];
    const { notBeforeMs: fromMs, notAfterMs: untilMs } = last;
    return [fetched, { ...of, kind: 'federated-root', term: { kind: 'until', fromMs, untilMs } }];
  });
}

/** The worst of what is not well, in one line; undefined: all is. */
function remarkOf(links: readonly Link[]): string | undefined {
  const due = links.filter(({ state }) => state !== 'ok');
  const [worst] = due;
  if (worst === undefined) return undefined;
  const more = due.length > 1 ? `; and ${due.length - 1} more, see countersign doctor` : '';
  return `${worst.kind} ${worst.name} ${worst.state}, ${worst.detail}: ${worst.run}${more}`;
}

/** Keeps metrics and `/readyz` at what the links are. @returns stops it */
export function tellExpiry(links: Links, { notAfter, linksDue }: Metrics, tell: Tell): () => void {
  let shown: ReadonlySet<string> = new Set();
  const look = (): void => {
    const judged = links.judged();
    const soonest = new Map<string, number>();
    for (const { kind, endsMs } of judged)
      if (endsMs !== undefined) soonest.set(kind, Math.min(soonest.get(kind) ?? Infinity, endsMs));
    for (const kind of shown) if (!soonest.has(kind)) notAfter.remove({ certificate: kind });
    for (const [certificate, endsMs] of soonest) notAfter.set({ certificate }, endsMs / 1_000);
    shown = new Set(soonest.keys());
    for (const state of ['soon', 'expired', 'unknown'] as const)
      linksDue.set({ state }, judged.filter((link) => link.state === state).length);
    tell.remark(PLACE, remarkOf(judged));
    const root = judged.find(({ kind, state }) => kind === 'root' && state === 'expired');
    tell.unready(PLACE, root && `nothing can be signed, the root ${root.detail}: ${root.run}`);
  };
  look();
  const timer = setInterval(look, EVERY_MS).unref();
  return () => clearInterval(timer);
}
