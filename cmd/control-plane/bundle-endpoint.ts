import type { Authority } from '../../src/authority/index.ts';
import { openBundleEndpoint, type EndpointCredentials } from '../../src/federation/index.ts';
import type { SpiffeId } from '../../src/identity/index.ts';
import type { ControlPlaneConfig, ListenAddress } from './config.ts';
import type { Tell } from './home.ts';
import { explainListen, ipAddressesOf } from './listen.ts';
import type { OwnCertificates } from './expiry.ts';
import { issuance, type Witnesses } from './observers.ts';
import { servingCertificate } from './serving-certificate.ts';
import { readWebCertificate, watchWebCertificate, type WebCertificate } from './web-certificate.ts';

const REMARK = 'bundle endpoint';

export interface EndpointParts {
  readonly config: ControlPlaneConfig;
  readonly authority: Authority;
  /** Of the control plane itself. */
  readonly id: SpiffeId;
  readonly nowMs: () => number;
  readonly own: OwnCertificates;
}

/** A certificate of which there may be newer ones. */
interface Source {
  readonly first: EndpointCredentials;
  onRenewed(listener: (credentials: EndpointCredentials) => void): void;
}

/** Where other trust domains fetch the bundle of this one, if that is asked for. */
export async function openEndpoint(
  parts: EndpointParts,
  witnesses: Witnesses,
  tell: Tell,
  closers: (() => void | Promise<void>)[],
): Promise<void> {
  const { config, authority } = parts;
  const endpoint = config.bundleEndpoint;
  if (endpoint === undefined) return;
  const { listen, web, refreshHintMs } = endpoint;
  const source =
    web === undefined
      ? ownSvid(parts, listen, witnesses, closers)
      : await webCertificate(web, parts, witnesses, tell, closers);
  const server = await explainListen('--bundle-endpoint', listen, async () =>
    openBundleEndpoint({
      ...listen,
      credentials: source.first,
      bundle: () => authority.bundle.withRefreshHint(refreshHintMs / 1_000),
      onAnswered: (status) => witnesses.metrics.bundleRequests.inc({ code: String(status) }),
    }),
  );
  source.onRenewed((credentials) => server.renew(credentials));
  closers.push(() => server.close());
  const { address, port } = server.address;
  witnesses.log.info({ address: `${address}:${port}` }, 'bundle endpoint open');
}

function ownSvid(
  { config, authority, id, nowMs, own }: EndpointParts,
  listen: ListenAddress,
  { audit, log }: Witnesses,
  closers: (() => void | Promise<void>)[],
): Source {
  const certificate = servingCertificate({
    authority,
    id,
    dnsNames: config.serverNames,
    ipAddresses: ipAddressesOf(listen),
    nowMs,
    onRenewed: (svid) => {
      own.set('bundle-endpoint', svid);
      audit.record({ ...issuance(svid), actor: 'control-plane', reason: 'serving', factors: [] });
    },
    onError: (error) =>
      log.error({ err: error }, "the bundle endpoint's certificate could not be renewed; it is tried again"),
  });
  closers.push(() => certificate.close());
  return { first: certificate.current, onRenewed: (listener) => certificate.onContext(listener) };
}

async function webCertificate(
  files: { readonly certFile: string; readonly keyFile: string },
  { nowMs, own }: EndpointParts,
  { metrics, log }: Witnesses,
  tell: Tell,
  closers: (() => void | Promise<void>)[],
): Promise<Source> {
  const { certFile, keyFile } = files;
  const told = (certificate: WebCertificate): void => void own.set('bundle-endpoint', certificate);
  const first = await readWebCertificate(files, nowMs);
  told(first);
  return {
    first,
    onRenewed: (listener): void => {
      const stop = watchWebCertificate(files, first, nowMs, {
        renewed: (certificate) => {
          listener(certificate);
          told(certificate);
          tell.remark(REMARK, undefined);
          log.info({ certFile }, 'the bundle endpoint has another certificate');
        },
        refused: (message) => {
          metrics.bundleCertificateFailures.inc();
          tell.remark(REMARK, `${message} (the certificate of before is served)`);
          log.error({ certFile, keyFile }, `${message} (the certificate of before is served)`);
        },
        restored: () => tell.remark(REMARK, undefined),
      });
      closers.push(stop);
    },
  };
}
