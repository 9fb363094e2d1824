import { SpiffeId, type TrustDomain } from '../../src/identity/index.ts';
import type { Mesh } from '../../src/mesh/index.ts';
import {
  OperatorError,
  type AddQuarantineRequest,
  type OperatorHandlers,
  type QuarantineEntry,
  type QuarantineState,
} from '../../src/operator/index.ts';
import { parseTime } from '../../src/policy/index.ts';
import {
  digestOf,
  MAX_REASON,
  QuarantineError,
  subjectInWords,
  type Entry,
  type Subject,
} from '../../src/quarantine/index.ts';
import type { QuarantineReport, Report } from '../../src/status/index.ts';
import { svidTtlBounds } from './config.ts';
import { enforcedEverywhere } from './quarantine-enforcement.ts';
import type { Quarantine } from './quarantine.ts';

/** Whatever SVID there is now has ended by then, by every clock that is right to a few minutes. */
export const DEFAULT_FOR_MS: number = svidTtlBounds.maxMs + 5 * 60_000;
const MAX_FOR_MS = 366 * 24 * 3_600_000;
const MAX_BY = 64;

export interface QuarantineHandlersParts {
  readonly quarantine: Quarantine;
  readonly mesh: Mesh;
  readonly trustDomain: TrustDomain;
  readonly enforcedHere: () => QuarantineReport;
  readonly others: () => ReadonlyMap<string, Report>;
  /** Replicas that do not report, in words. */
  readonly silent: () => readonly string[];
  readonly unshared: () => string | undefined;
  readonly nowMs: () => number;
  /** Why nothing may be dated by that clock now. */
  readonly clockFault: () => string | undefined;
}

type Handlers = Pick<OperatorHandlers, 'AddQuarantine' | 'ListQuarantine' | 'RemoveQuarantine'>;

export function quarantineHandlers(parts: QuarantineHandlersParts): Handlers {
  const { quarantine, nowMs } = parts;
  const state = (): QuarantineState => stateOf(parts);
  return {
    AddQuarantine: async (request) => {
      refuseUndatable(request, parts);
      const subject = subjectOf(request, parts);
      const same = quarantine.ledger.entries.find(
        (entry) => JSON.stringify(entry.subject) === JSON.stringify(subject),
      );
      if (same !== undefined && !request.force) {
        throw new OperatorError(
          'FAILED_PRECONDITION',
          `${subjectInWords(subject)} is in quarantine already, by ${same.name}: ${same.reason}. Remove that entry after adding another with --force, to change its reason or expiry.`,
        );
      }
      const entry = await inWords(() =>
        quarantine.add({
          subject,
          reason: reasonOf(request),
          by: request.by.trim().slice(0, MAX_BY) || 'operator',
          expiresAtMs: expiryOf(request, nowMs()),
        }),
      );
      return { added: entry.name, ...state() };
    },
    ListQuarantine: () => state(),
    RemoveQuarantine: async ({ name, by }) => {
      await inWords(() => quarantine.remove(name, by.trim().slice(0, MAX_BY) || 'operator'));
      return state();
    },
  };
}

function stateOf(parts: QuarantineHandlersParts): QuarantineState {
  const { quarantine, enforcedHere, others, silent, unshared } = parts;
  const { proxies, current, lagging } = enforcedEverywhere(enforcedHere(), others(), silent());
  return {
    entries: quarantine.ledger.entries.map(entryState),
    proxies,
    enforced: current,
    lagging,
    replicas: others().size + 1,
    unshared: unshared() ?? '',
    not_kept: quarantine.unkept ?? '',
  };
}

function entryState({ name, subject, reason, by, addedAtMs, expiresAtMs }: Entry): QuarantineEntry {
  return {
    name,
    subject: subjectInWords(subject),
    ...{ kind: subject.kind, id: '', pod: '', pod_uid: '', node: '', certificate: '', issued_before: '' },
    ...details(subject),
    reason,
    by,
    added: iso(addedAtMs),
    expires: expiresAtMs === undefined ? '' : iso(expiresAtMs),
  };
}

function details(subject: Subject): Partial<QuarantineEntry> {
  switch (subject.kind) {
    case 'id':
      return { id: subject.id };
    case 'pod':
      return { pod: `${subject.pod.namespace}/${subject.pod.name}`, pod_uid: subject.pod.uid };
    case 'node':
      return { node: subject.node };
    case 'certificate':
      return { certificate: subject.digest };
    case 'issued-before':
      return { issued_before: iso(subject.atMs), ...(subject.id !== undefined && { id: subject.id }) };
    default:
      return subject satisfies never;
  }
}

/** @throws OperatorError where it would be dated by a clock that is wrong: by the others' it has ended, or spares some */
function refuseUndatable(
  { forever, issued_before: before }: AddQuarantineRequest,
  { clockFault }: QuarantineHandlersParts,
): void {
  const fault = clockFault();
  if (fault === undefined || (forever && before === '')) return;
  throw new OperatorError(
    'FAILED_PRECONDITION',
    `neither an expiry nor --issued-before can be told here: ${fault}. Give the command to another replica; or cut off by --id, --pod, --node or --certificate and --forever`,
  );
}

/** @throws OperatorError where nobody, or more than one, is meant, or whoever is meant is not known */
function subjectOf(request: AddQuarantineRequest, parts: QuarantineHandlersParts): Subject {
  const { id, pod, node, certificate, issued_before: before } = request;
  const given = [pod, node, certificate, before].filter((text) => text !== '').length;
  const alone = given + (id !== '' && before === '' ? 1 : 0);
  if (alone !== 1) {
    throw invalid(
      'say who is meant by one of --id, --pod, --node, --certificate and --issued-before (which --id can narrow)',
    );
  }
  if (request.pod_uid !== '' && pod === '') throw invalid('--uid is that of a pod: name it by --pod');
  if (before !== '') return issuedBefore(before, id, parts);
  if (id !== '') return { kind: 'id', id: knownId(request, parts) };
  if (certificate !== '') return { kind: 'certificate', digest: inWordsNow(() => digestOf(certificate)) };
  return pod === '' ? { kind: 'node', node: knownNode(request, parts) } : knownPod(request, parts);
}

function issuedBefore(text: string, id: string, { nowMs, trustDomain }: QuarantineHandlersParts): Subject {
  const now = nowMs();
  const atMs = text === 'now' ? now : parseTime(text);
  if (atMs === undefined)
    throw invalid(
      `${JSON.stringify(text.slice(0, 64))} is no time: write now, or 2027-01-31T18:00:00Z (RFC 3339)`,
    );
  if (atMs > now)
    throw invalid(`${iso(atMs)} is still to come: no certificate could be renewed before then; write now`);
  if (id === '') return { kind: 'issued-before', atMs };
  const parsed = parseId(id);
  if (parsed.trustDomain.name !== trustDomain.name)
    throw invalid(
      `${parsed.uri} is of another trust domain, whose certificates do not say when they were issued`,
    );
  return { kind: 'issued-before', atMs, id: parsed.uri };
}

function knownId(
  { id, force }: AddQuarantineRequest,
  { mesh, trustDomain }: QuarantineHandlersParts,
): string {
  const parsed = parseId(id);
  if (parsed.path === '')
    throw invalid(`${parsed.uri} is a trust domain, and no workload: name one of its IDs`);
  if (force || parsed.trustDomain.name !== trustDomain.name) return parsed.uri;
  const [, namespace, name] = /^\/ns\/([^/]+)\/sa\/([^/]+)$/u.exec(parsed.path) ?? [];
  if (namespace === undefined || mesh.get('ServiceAccount', `${namespace}/${name}`) === undefined) {
    throw new OperatorError(
      'NOT_FOUND',
      `${parsed.uri} belongs to no service account that is known: check the spelling, or use --force where it is gone and its certificates may live`,
    );
  }
  return parsed.uri;
}

function knownPod({ pod, pod_uid: uid }: AddQuarantineRequest, { mesh }: QuarantineHandlersParts): Subject {
  const [namespace = '', name = '', ...rest] = pod.split('/');
  if (namespace === '' || name === '' || rest.length > 0)
    throw invalid(`${JSON.stringify(pod.slice(0, 128))} is not a pod: write NAMESPACE/NAME`);
  const found = mesh.get('Pod', `${namespace}/${name}`);
  if (uid !== '') {
    if (!/^[\w.:-]{1,128}$/u.test(uid))
      throw invalid(`${JSON.stringify(uid.slice(0, 128))} is not the UID of a pod`);
    return { kind: 'pod', pod: { namespace, name, uid } };
  }
  if (found === undefined) {
    throw new OperatorError(
      'NOT_FOUND',
      `there is no pod ${namespace}/${name}: check the spelling; of one that is gone, give --uid too (svid.issued in the audit log has it as podUid), or cut off its identity by --id`,
    );
  }
  return { kind: 'pod', pod: { namespace, name, uid: found.uid } };
}

function knownNode({ node, force }: AddQuarantineRequest, { mesh }: QuarantineHandlersParts): string {
  if (!/^[a-z0-9.-]{1,253}$/u.test(node))
    throw invalid(`${JSON.stringify(node.slice(0, 128))} is not the name of a node`);
  if (force || mesh.list('Pod').some(({ nodeName }) => nodeName === node)) return node;
  const nodes = [...new Set(mesh.list('Pod').map(({ nodeName }) => nodeName))].filter((name) => name !== '');
  throw new OperatorError(
    'NOT_FOUND',
    `no pod runs on a node ${node}; pods run on: ${nodes.toSorted().slice(0, 20).join(', ') || 'none'}. Use --force where its pods are gone and their certificates may live.`,
  );
}

function expiryOf(
  { for_seconds: seconds, forever }: AddQuarantineRequest,
  nowMs: number,
): number | undefined {
  if (forever && seconds !== 0) throw invalid('--for and --forever exclude each other');
  if (forever) return undefined;
  const forMs = seconds === 0 ? DEFAULT_FOR_MS : seconds * 1_000;
  if (forMs > MAX_FOR_MS)
    throw invalid('an entry lasts for at most a year: use --forever where it is to stay');
  return nowMs + forMs;
}

function reasonOf({ reason }: AddQuarantineRequest): string {
  const text = reason.trim();
  if (text !== '' && text.length <= MAX_REASON) return text;
  throw invalid(
    text === ''
      ? 'say why, by --reason'
      : `a reason has at most ${MAX_REASON} characters, this one has ${text.length}`,
  );
}

function parseId(text: string): SpiffeId {
  try {
    return SpiffeId.parse(text);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
}

function invalid(message: string): OperatorError {
  return new OperatorError('INVALID_ARGUMENT', message);
}

function inWordsNow<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw asOperatorError(error);
  }
}

async function inWords<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw asOperatorError(error);
  }
}

function asOperatorError(error: unknown): unknown {
  if (!(error instanceof QuarantineError)) return error;
  const codes = { 'entry-invalid': 'INVALID_ARGUMENT', 'entry-unknown': 'NOT_FOUND' } as const;
  const code =
    error.code === 'entry-invalid' || error.code === 'entry-unknown'
      ? codes[error.code]
      : 'FAILED_PRECONDITION';
  return new OperatorError(code, error.message);
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
