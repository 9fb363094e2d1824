import { Authority, memoryKeyStore } from '../../src/authority/index.ts';
import { SpiffeId, TrustDomain } from '../../src/identity/index.ts';
import { Mesh, type Pod } from '../../src/mesh/index.ts';
import { Proxies, ResourceEncoder, SECRET_TYPE } from '../../src/proxy/index.ts';
import { envoySchema } from '../../cmd/schema.ts';
import { requestPem } from './certificate-request.ts';
import { keyAndSignature, verificationAndSignature } from './crypto-limits.ts';
import type { BenchSize } from './options.ts';
import { compareRates } from './rates.ts';
import { row, type Row } from './row.ts';

const trustDomain = TrustDomain.parse('cluster.local');
const id = SpiffeId.workload(trustDomain, 'team-1', 'app-1');
const sdsLimit = 'one P-256 key generation and one signature by node:crypto; rounds of both take turns';
export const csrLimit = 'one P-256 verification and one signature by node:crypto; rounds of both take turns';

/** Requests that are signed for together, as those are that come within one turn of the event loop. */
const COHORT = 16;

async function openAuthority(): Promise<Authority> {
  return await Authority.open({
    store: memoryKeyStore(),
    trustDomain,
    nowMs: Date.now,
    svidTtlMs: 3_600_000,
  });
}

/** SVIDs for keys that the authority makes, and the same as an encoded `Secret`. */
export async function sdsRows(size: BenchSize): Promise<readonly Row[]> {
  const authority = await openAuthority();
  const order = orderedSecrets(authority);
  const common = { unit: 'per CPU second', better: 'higher', limitIs: sdsLimit } as const;
  try {
    return [
      row({
        ...common,
        name: 'sds',
        what: 'SVIDs issued, key made here',
        ...compareRates(keyAndSignature(), () => authority.issue(id), size),
      }),
      row({
        ...common,
        name: 'sds-secret',
        what: 'the same, renewed and encoded as Secret',
        ...compareRates(keyAndSignature(), order.renew, size),
      }),
    ];
  } finally {
    order.close();
    authority.close();
  }
}

/** SVIDs for keys that came in a certificate request. */
export async function csrRows(size: BenchSize): Promise<readonly Row[]> {
  const authority = await openAuthority();
  const requests = Array.from({ length: COHORT }, () => ({ id, csr: requestPem() }));
  const cohort = (): void => {
    for (const issued of authority.issueForCsrs(requests)) if (issued instanceof Error) throw issued;
  };
  try {
    return [
      row({
        name: 'csr',
        what: `SVIDs issued for certificate requests, ${COHORT} at a time`,
        unit: 'per CPU second',
        better: 'higher',
        limitIs: csrLimit,
        ...compareRates(verificationAndSignature(), cohort, { ...size, perCall: COHORT }),
      }),
    ];
  } finally {
    authority.close();
  }
}

/** One connected workload, whose SVID is ordered anew and looked up as its stream would. */
function orderedSecrets(authority: Authority): { readonly renew: () => void; readonly close: () => void } {
  const pod: Pod = {
    kind: 'Pod',
    namespace: 'team-1',
    name: 'app-1-1',
    uid: 'uid-1',
    labels: { app: 'app-1' },
    annotations: {},
    serviceAccount: 'app-1',
    nodeName: 'node-1',
    ips: [],
    phase: 'Running',
    terminating: false,
  };
  const mesh = new Mesh({ rootNamespace: 'countersign-system' });
  mesh.update([{ op: 'set', object: pod }]);
  const proxies = new Proxies({
    encoder: new ResourceEncoder(envoySchema()),
    mesh,
    settings: {
      trustDomain: trustDomain.name,
      rootNamespace: 'countersign-system',
      defaultAction: 'deny',
    },
    jwksOf: () => undefined,
    quarantine: () => [],
    trust: () => ({ own: authority.bundle, federated: [], knows: () => false }),
    nowMs: Date.now,
    ticks: () => performance.now(),
    random: Math.random,
    issue: () => authority.issue(id, { holder: { podUid: pod.uid, node: pod.nodeName } }),
    observer: { issued: () => {}, waited: () => {}, refused: () => {}, failed: () => {} },
  });
  const { proxy } = proxies.open({ id, pod, factors: [] }, () => undefined);
  return {
    renew: () => {
      proxies.renew('team-1/app-1-1');
      const found = proxy.lookup(SECRET_TYPE, 'default');
      if (found.kind !== 'found') throw new Error(`no Secret: ${found.kind}`);
    },
    close: () => proxies.close(),
  };
}
