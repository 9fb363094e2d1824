import { canonicalIp, namespacedKey } from '../mesh/index.ts';
import type { Mesh, Pod } from '../mesh/index.ts';
import { refuseFactor } from './refusal.ts';
import type { ClaimedWorkload, FactorVerdict, Refusal } from './types.ts';

/** What a pod must still be for its proof to hold. */
export interface ExpectedPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly nodeName: string;
}

export type PodCheck =
  | { readonly ok: true; readonly pod: Pod; readonly factors: readonly FactorVerdict[] }
  | { readonly ok: false; readonly refusal: Refusal };

/** Whether a failed peer address is let pass, and whether it is looked at. */
export type PeerAddressMode = 'off' | 'warn' | 'require';

/** Factors two and three, against what exists now. Synchronous and cheap: asked at each renewal. */
export function checkPod(mesh: Mesh, expected: ExpectedPod, claimed?: ClaimedWorkload): PodCheck {
  const failed = (factor: 'pod' | 'service-account' | 'node', detail: string): PodCheck => ({
    ok: false,
    refusal: refuseFactor(factor, detail, claimed),
  });
  const key = namespacedKey(expected.namespace, expected.name);
  const pod = mesh.get('Pod', key);
  if (pod === undefined) return failed('pod', `pod ${key} does not exist`);
  if (pod.uid !== expected.uid) {
    return failed('pod', `pod ${key} was made anew: it has UID ${pod.uid}, the token is of ${expected.uid}`);
  }
  if (mesh.podByUid(pod.uid) !== pod) {
    return failed('pod', `another pod claims the UID ${pod.uid} too, so it proves neither`);
  }
  if (pod.terminating) return failed('pod', `pod ${key} is terminating`);
  if (pod.phase === 'Succeeded' || pod.phase === 'Failed')
    return failed('pod', `pod ${key} has finished (${pod.phase})`);

  const { serviceAccount } = expected;
  if (pod.serviceAccount !== serviceAccount.name) {
    return failed(
      'service-account',
      `pod ${key} runs as ${pod.serviceAccount}, the token is of service account ${serviceAccount.name}`,
    );
  }
  const account = mesh.get('ServiceAccount', namespacedKey(expected.namespace, serviceAccount.name));
  if (account === undefined) {
    return failed(
      'service-account',
      `service account ${expected.namespace}/${serviceAccount.name} does not exist`,
    );
  }
  if (account.uid !== serviceAccount.uid) {
    return failed(
      'service-account',
      `service account ${expected.namespace}/${account.name} was made anew: it has UID ${account.uid}, the token is of ${serviceAccount.uid}`,
    );
  }

  if (pod.nodeName === '') return failed('node', `pod ${key} is on no node yet`);
  if (pod.nodeName !== expected.nodeName) {
    return failed('node', `pod ${key} is on node ${pod.nodeName}, the token is of node ${expected.nodeName}`);
  }
  return {
    ok: true,
    pod,
    factors: [
      { factor: 'pod', outcome: 'passed', detail: `${key} exists with UID ${pod.uid}` },
      {
        factor: 'service-account',
        outcome: 'passed',
        detail: `it runs as ${pod.serviceAccount} (${account.uid})`,
      },
      { factor: 'node', outcome: 'passed', detail: `it is on ${pod.nodeName}` },
    ],
  };
}

/** Factor four. An address that is not visible fails like a foreign one: `require` means that it was proven. */
export function checkPeerAddress(
  mode: PeerAddressMode,
  pod: Pod,
  address: string | undefined,
  claimed?: ClaimedWorkload,
): FactorVerdict | Refusal {
  if (mode === 'off') return { factor: 'peer-address', outcome: 'skipped', detail: 'not asked for' };
  const canonical = address === undefined ? undefined : canonicalIp(address);
  if (canonical !== undefined && pod.ips.includes(canonical)) {
    return { factor: 'peer-address', outcome: 'passed', detail: `${canonical} is the pod's` };
  }
  const seen = canonical === undefined ? 'no peer address is visible' : `the peer is ${canonical}`;
  const detail = `${seen}; the pod has ${pod.ips.length === 0 ? 'no address' : pod.ips.join(', ')}`;
  return mode === 'warn'
    ? { factor: 'peer-address', outcome: 'warned', detail }
    : refuseFactor('peer-address', detail, claimed);
}
