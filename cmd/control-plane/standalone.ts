import { join } from 'node:path';
import { LocalAttestor, LocalIssuer } from '../../src/attestation/index.ts';
import { directoryKeyStore } from '../../src/authority/index.ts';
import { DirectorySource } from '../../src/sources/directory/index.ts';
import type { Home, HomeOptions } from './home.ts';
import { caFiles } from './own-ca.ts';
import { reportProblems } from './problems.ts';
import { slowClock } from './slow-clock.ts';

const defaultTokenIssuer = 'https://countersign.local';

/** No Kubernetes: a directory of manifests, and an issuer of tokens of our own. */
export async function openStandalone(directory: string, options: HomeOptions): Promise<Home> {
  const { config, mesh, witnesses, tell, closers } = options;
  const { dataDir, tokenIssuer = defaultTokenIssuer } = config;
  const nowMs = Date.now;
  const issuer = await LocalIssuer.open({ directory: dataDir, issuer: tokenIssuer, nowMs });
  const attestor = new LocalAttestor({
    jwks: issuer.jwks(),
    issuer: tokenIssuer,
    audience: config.audience,
    trustDomain: config.trustDomain,
    mesh,
    nowMs,
    peerAddress: config.peerAddress,
  });
  return {
    attestor,
    issuer,
    caSource: config.ca?.kind === 'files' ? caFiles(config.ca) : undefined,
    tokenKeys: () => ({
      kind: 'token-keys',
      name: 'of the own issuer',
      serves: 'no caller can prove itself',
      term: { kind: 'endless' },
      run: '',
    }),
    rootStore: directoryKeyStore(join(dataDir, 'authority')),
    fill: async () => {
      tell.starting(`reading the manifests in ${directory}`);
      const source = await DirectorySource.open({
        directory,
        mesh,
        nowMs,
        stateFile: join(dataDir, 'uids.json'),
        rootNamespace: config.settings.rootNamespace,
        onReport: (report) => reportProblems(report, witnesses),
      });
      closers.push(() => source.close());
    },
    // There are no others.
    join: async () => {},
    leads: () => true,
    caPlugged: () => {},
    streamsChanged: () => {},
    nowMs,
    // Nobody else says what time it is.
    clockFault: () => undefined,
    endingMs: slowClock(nowMs, () => performance.now()),
    quarantineUnshared: () => undefined,
    otherReports: () => new Map(),
    silentReplicas: () => [],
  };
}
