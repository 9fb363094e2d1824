import type { LocalIssuer } from '../../src/attestation/index.ts';
import type { AuditLog } from '../../src/audit/index.ts';
import type { StreamStatus } from '../../src/discovery/index.ts';
import type { Links } from '../../src/expiry/index.ts';
import type { FederationKeeper, FederationStatus } from '../../src/federation/index.ts';
import type { Mesh, Pod } from '../../src/mesh/index.ts';
import type { Authority } from '../../src/authority/index.ts';
import {
  OperatorError,
  type FederatedDomainState,
  type OperatorHandlers,
  type ProxyState,
  type RotateRootRequest,
  type RotateRootResponse,
} from '../../src/operator/index.ts';
import { expiryAnswer } from './expiry-answer.ts';
import { fingerprint } from './federation.ts';
import { isRotationStep, RotationRefused, type RootRotation } from './root-rotation.ts';
import { rotationAnswer } from './rotation-state.ts';
import type { Proxies } from '../../src/proxy/index.ts';

const defaultTokenSeconds = 3_600;
const longestTokenSeconds = 86_400;

export function operatorHandlers(parts: {
  readonly authority: Authority;
  readonly mesh: Mesh;
  /** Undefined: the API server issues the tokens. */
  readonly issuer: LocalIssuer | undefined;
  readonly audience: string;
  readonly proxies: Proxies;
  readonly streams: () => readonly StreamStatus[];
  readonly rotation: RootRotation;
  readonly federation: FederationKeeper;
  readonly links: Links;
  readonly audit: AuditLog;
  readonly quarantine: Pick<OperatorHandlers, 'AddQuarantine' | 'ListQuarantine' | 'RemoveQuarantine'>;
  readonly nowMs: () => number;
}): OperatorHandlers {
  const { mesh, issuer, proxies, streams, audit, nowMs } = parts;
  const podNamed = (namespace: string, name: string): Pod => {
    const pod = mesh.get('Pod', `${namespace}/${name}`);
    if (pod !== undefined) return pod;
    const known = mesh.list('Pod').map((other) => `${other.namespace}/${other.name}`);
    throw new OperatorError(
      'NOT_FOUND',
      `there is no pod ${namespace}/${name}; known pods: ${known.toSorted().slice(0, 20).join(', ') || 'none'}`,
    );
  };
  return {
    IssueToken: async (request): Promise<{ token: string }> => {
      const pod = podNamed(request.namespace, request.pod);
      if (issuer === undefined) {
        throw new OperatorError(
          'FAILED_PRECONDITION',
          `on Kubernetes the API server issues the tokens: kubectl create token ${pod.serviceAccount} --namespace ${pod.namespace} --audience ${parts.audience} --bound-object-kind Pod --bound-object-name ${pod.name}`,
        );
      }
      const serviceAccount = mesh.get('ServiceAccount', `${pod.namespace}/${pod.serviceAccount}`);
      if (serviceAccount === undefined) {
        throw new OperatorError(
          'FAILED_PRECONDITION',
          `pod ${pod.namespace}/${pod.name} runs as service account ${pod.serviceAccount}, which does not exist: add its manifest`,
        );
      }
      const audience = request.audience === '' ? parts.audience : request.audience;
      const ttlSeconds = request.ttl_seconds === 0 ? defaultTokenSeconds : request.ttl_seconds;
      if (ttlSeconds > longestTokenSeconds) {
        throw new OperatorError(
          'INVALID_ARGUMENT',
          'a token lives for at most 24 h: ask for a shorter --ttl',
        );
      }
      const token = await issuer.issue({ pod, serviceAccount, audience, ttlSeconds });
      audit.record({
        event: 'token.issued',
        actor: `${pod.namespace}/${pod.name}`,
        audience,
        notAfter: new Date(nowMs() + ttlSeconds * 1_000).toISOString(),
      });
      return { token };
    },
    ListProxies: () => ({ proxies: streams().map((stream) => proxyState(stream, proxies)) }),
    RenewSvid: (request): { old_serial: string; new_serial: string } => {
      const pod = podNamed(request.namespace, request.pod);
      const key = `${pod.namespace}/${pod.name}`;
      const before = proxies.svidOf(key);
      if (before === undefined) {
        throw new OperatorError(
          'FAILED_PRECONDITION',
          `pod ${key} holds no SVID: no Envoy of it is connected`,
        );
      }
      const after = proxies.renew(key);
      if (typeof after === 'string') {
        throw new OperatorError('FAILED_PRECONDITION', `pod ${key} gets no new SVID: ${after}`);
      }
      return { old_serial: before.svid.serial, new_serial: after.serial };
    },
    ...parts.quarantine,
    ListFederation: () => ({ domains: parts.federation.status().map(federatedDomain) }),
    CheckExpiry: () => expiryAnswer(parts.links.judged(), nowMs()),
    RotateRoot: (request) => rotateRoot(parts.authority, parts.rotation, request),
  };
}

async function rotateRoot(
  authority: Authority,
  rotation: RootRotation,
  { step, force, dry_run: rehearsal }: RotateRootRequest,
): Promise<RotateRootResponse> {
  if (step !== '' && !isRotationStep(step)) {
    throw new OperatorError(
      'INVALID_ARGUMENT',
      `${JSON.stringify(step)} is no step: prepare, activate, retire and abort are`,
    );
  }
  const taken = step !== '' && !rehearsal;
  try {
    if (taken) await rotation.take(step, force, 'operator');
  } catch (error) {
    if (error instanceof RotationRefused) throw new OperatorError('FAILED_PRECONDITION', error.message);
    throw error;
  }
  const state = authority.rotation;
  const next = state.step === 'prepared' ? 'activate' : 'retire';
  const asked = rehearsal && step !== '' && isRotationStep(step) ? step : next;
  return rotationAnswer(state, state.step === 'steady' ? [] : rotation.lagging(asked), taken);
}

function federatedDomain(status: FederationStatus): FederatedDomainState {
  const { bundle, fetchedAtMs, failure = '', nextTryMs } = status;
  return {
    trust_domain: status.trustDomain,
    url: status.url,
    profile: status.profile,
    sequence: bundle === undefined ? '' : String(bundle.sequence),
    roots: (bundle?.x509Authorities ?? []).map(fingerprint),
    fetched_at: fetchedAtMs === undefined ? '' : new Date(fetchedAtMs).toISOString(),
    next_try: new Date(nextTryMs).toISOString(),
    failure,
  };
}

function proxyState(stream: StreamStatus, proxies: Proxies): ProxyState {
  const held = proxies.svidOf(stream.client);
  return {
    pod: stream.client,
    node_id: stream.nodeId,
    method: stream.method,
    serial: held?.svid.serial ?? '',
    renew_at: held === undefined ? '' : new Date(held.renewAtMs).toISOString(),
    resources: stream.types.flatMap(({ typeUrl, resources }) =>
      resources.map(({ name, version, acknowledged, rejection }) => ({
        type_url: typeUrl,
        name,
        version,
        acknowledged,
        rejection: rejection ?? '',
      })),
    ),
  };
}
