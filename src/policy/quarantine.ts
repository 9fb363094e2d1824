import { subjectIssuedAt, subjectOfNode, subjectOfPod, SUBJECTS_END } from '../identity/index.ts';
import type { Expr, Principal, RbacPolicy } from './envoy-types.ts';
import type { Test } from './match.ts';
import type { MeshSettings, QuarantineRule, QuarantinedCallers } from './types.ts';

const NAME = /^countersign-quarantine\[([^[\]]+)\]$/u;

/** The rule's name inside Envoy. It sorts before those of policies: of several that match, Envoy names it. */
export function quarantineName({ entry }: Pick<QuarantineRule, 'entry'>): string {
  return `countersign-quarantine[${entry}]`;
}

/** The entry behind a name of {@link quarantineName}; undefined for any other text. */
export function parseQuarantineName(name: string): string | undefined {
  return NAME.exec(name)?.[1];
}

/** One rule of a DENY filter, HTTP or TCP. */
export function compileQuarantine({ callers }: QuarantineRule, settings: MeshSettings): RbacPolicy {
  const permissions = [{ any: true }] as const;
  const own: Principal = { authenticated: { principal_name: { prefix: ownIds(settings) } } };
  switch (callers.kind) {
    case 'everyone':
      return { permissions, principals: [{ any: true }] };
    case 'id':
      return { permissions, principals: [exactly(callers.uri)] };
    case 'certificate':
      return {
        permissions,
        principals: [{ any: true }],
        condition: call('_==_', DIGEST, text(callers.digest)),
      };
    case 'pod':
      return { permissions, principals: [own], condition: ofSubject('contains', subjectOfPod(callers.uid)) };
    case 'node':
      return {
        permissions,
        principals: [own],
        condition: ofSubject('endsWith', subjectOfNode(callers.node)),
      };
    case 'issued-before':
      return {
        permissions,
        principals: [callers.id === undefined ? own : exactly(callers.id)],
        condition: call('!_', issuedSince(callers.atMs)),
      };
    default:
      return callers satisfies never;
  }
}

/** As Envoy decides {@link compileQuarantine}. */
export function quarantineTest({ callers }: QuarantineRule, settings: MeshSettings): Test {
  const own = ownIds(settings);
  switch (callers.kind) {
    case 'everyone':
      return () => true;
    case 'id':
      return ({ principal }) => principal === callers.uri;
    case 'certificate':
      return ({ certificate }) => certificate?.digest === callers.digest;
    case 'pod': {
      const part = subjectOfPod(callers.uid);
      return ({ principal, certificate }) =>
        principal.startsWith(own) && certificate?.subject.includes(part) === true;
    }
    case 'node': {
      const end = subjectOfNode(callers.node);
      return ({ principal, certificate }) =>
        principal.startsWith(own) && certificate?.subject.endsWith(end) === true;
    }
    case 'issued-before': {
      const first = subjectIssuedAt(callers.atMs);
      const { id } = callers;
      return ({ principal, certificate }) =>
        (id === undefined ? principal.startsWith(own) : principal === id) &&
        certificate !== undefined &&
        !(certificate.subject >= first && certificate.subject < SUBJECTS_END);
    }
    default:
      return callers satisfies never;
  }
}

/** Who is meant, for people. */
export function describeCallers(callers: QuarantinedCallers): string {
  switch (callers.kind) {
    case 'everyone':
      return 'the workload itself is in quarantine';
    case 'id':
      return `callers with the SPIFFE ID ${callers.uri}`;
    case 'certificate':
      return `callers with the certificate ${callers.digest}`;
    case 'pod':
      return `callers with a certificate of the pod ${callers.uid}`;
    case 'node':
      return `callers with a certificate of a pod on node ${callers.node}`;
    case 'issued-before':
      return `callers with a certificate issued before ${new Date(callers.atMs).toISOString()}`;
    default:
      return callers satisfies never;
  }
}

/** Subjects of other trust domains say something else, or nothing. */
function ownIds({ trustDomain }: MeshSettings): string {
  return `spiffe://${trustDomain}/`;
}

function exactly(uri: string): Principal {
  return { authenticated: { principal_name: { exact: uri } } };
}

const SUBJECT = connection('subject_peer_certificate');
const DIGEST = connection('sha256_peer_certificate_digest');

function ofSubject(test: 'contains' | 'endsWith', part: string): Expr {
  return { call_expr: { target: SUBJECT, function: test, args: [text(part)] } };
}

/** A certificate of before this feature, or of another authority, says no time of issue, and counts as older. */
function issuedSince(atMs: number): Expr {
  return call(
    '_&&_',
    call('_>=_', SUBJECT, text(subjectIssuedAt(atMs))),
    call('_<_', SUBJECT, text(SUBJECTS_END)),
  );
}

function connection(field: string): Expr {
  return { select_expr: { operand: { ident_expr: { name: 'connection' } }, field } };
}

function text(value: string): Expr {
  return { const_expr: { string_value: value } };
}

function call(name: string, ...args: readonly Expr[]): Expr {
  return { call_expr: { function: name, args } };
}
