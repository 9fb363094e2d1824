import type { QuarantinedCallers, QuarantineRule } from '../policy/index.ts';
import type { Entry, Ledger, Subject, Suspect } from './types.ts';

/** What every workload denies. */
export function rulesFor({ entries }: Ledger): readonly QuarantineRule[] {
  return entries.map(({ name, reason, subject }) => ({ entry: name, reason, callers: callersOf(subject) }));
}

/** What a workload denies that is in quarantine itself: it is neither to call nor to be called. */
export function rulesOfSuspect({ name, reason }: Pick<Entry, 'name' | 'reason'>): readonly QuarantineRule[] {
  return [{ entry: name, reason, callers: { kind: 'everyone' } }];
}

/** Why a workload is given nothing any more; undefined: it is. A certificate can be replaced, who it is cannot. */
export function entryAgainst({ entries }: Ledger, { id, pod }: Suspect): Entry | undefined {
  return entries.find(({ subject }) => {
    switch (subject.kind) {
      case 'id':
        return subject.id === id;
      case 'pod':
        return subject.pod.uid === pod.uid;
      case 'node':
        return subject.node === pod.nodeName;
      case 'certificate':
      case 'issued-before':
        return false;
      default:
        return subject satisfies never;
    }
  });
}

/** A certificate that a workload holds, and whether it is to have another one now. */
export function isCutOff(
  { entries }: Ledger,
  held: { readonly id: string; readonly digest: string; readonly issuedAtMs: number },
): boolean {
  return entries.some(({ subject }) => {
    if (subject.kind === 'certificate') return subject.digest === held.digest;
    if (subject.kind !== 'issued-before') return false;
    return held.issuedAtMs < subject.atMs && (subject.id === undefined || subject.id === held.id);
  });
}

function callersOf(subject: Subject): QuarantinedCallers {
  switch (subject.kind) {
    case 'id':
      return { kind: 'id', uri: subject.id };
    case 'pod':
      return { kind: 'pod', uid: subject.pod.uid };
    case 'node':
      return subject;
    case 'certificate':
      return { kind: 'certificate', digest: subject.digest };
    case 'issued-before':
      return subject;
    default:
      return subject satisfies never;
  }
}

/** For people. */
export function subjectInWords(subject: Subject): string {
  switch (subject.kind) {
    case 'id':
      return subject.id;
    case 'pod':
      return `pod ${subject.pod.namespace}/${subject.pod.name} (UID ${subject.pod.uid})`;
    case 'node':
      return `node ${subject.node}`;
    case 'certificate':
      return `certificate ${subject.digest}`;
    case 'issued-before':
      return `issued before ${new Date(subject.atMs).toISOString()}${subject.id === undefined ? '' : ` for ${subject.id}`}`;
    default:
      return subject satisfies never;
  }
}
