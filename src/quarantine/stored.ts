import { isPodUid, SpiffeId } from '../identity/index.ts';
import { QuarantineError } from './errors.ts';
import type { Entry, Ledger, PodRef, Removal, Subject } from './types.ts';

const VERSION = 1;
const NAME = /^q-[0-9a-f]{10}$/;
export const MAX_REASON = 256;
type Fields = Readonly<Record<string, unknown>>;

/** JSON, as it is kept in a file and between replicas, in as few bytes as it takes: see `MAX_BYTES`. */
export function serializeLedger({ entries, removals }: Ledger): string {
  return `${JSON.stringify({ version: VERSION, entries, removals })}\n`;
}

/** @throws QuarantineError `ledger-malformed`: nothing of it counts, as what is missing cannot be told */
export function parseLedger(text: string): Ledger {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed('it is no JSON', cause);
  }
  const { version, entries, removals } = fieldsOf(value, 'the whole');
  if (version !== VERSION)
    throw malformed(`its version is ${JSON.stringify(version)}, ${VERSION} can be read`);
  return {
    entries: listOf(entries, 'entries').map((entry) => readEntry(fieldsOf(entry, 'an entry'))),
    removals: listOf(removals, 'removals').map((removal): Removal => {
      const { name, untilMs } = fieldsOf(removal, 'a removal');
      return { name: nameOf(name), untilMs: timeOf(untilMs, 'untilMs') };
    }),
  };
}

function readEntry({ name, subject, reason, by, addedAtMs, expiresAtMs }: Fields): Entry {
  return {
    name: nameOf(name),
    subject: readSubject(fieldsOf(subject, 'a subject')),
    reason: textOf(reason, 'reason'),
    by: textOf(by, 'by'),
    addedAtMs: timeOf(addedAtMs, 'addedAtMs'),
    expiresAtMs: expiresAtMs === undefined ? undefined : timeOf(expiresAtMs, 'expiresAtMs'),
  };
}

function readSubject(subject: Fields): Subject {
  const { kind, id, pod, node, digest, atMs } = subject;
  switch (kind) {
    case 'id':
      return { kind, id: idOf(id) };
    case 'pod':
      return { kind, pod: podOf(pod) };
    case 'node':
      return { kind, node: textOf(node, 'node') };
    case 'certificate':
      return { kind, digest: digestOf(textOf(digest, 'digest')) };
    case 'issued-before':
      return { kind, atMs: timeOf(atMs, 'atMs'), ...(id !== undefined && { id: idOf(id) }) };
    default:
      throw malformed(`an entry is about ${JSON.stringify(kind)}, which is not known`);
  }
}

/** @param text hex, with or without colons. @throws QuarantineError `entry-invalid` */
export function digestOf(text: string): string {
  const digest = text.replaceAll(':', '').toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digest)) return digest;
  throw new QuarantineError(
    'entry-invalid',
    `${JSON.stringify(text.slice(0, 128))} is no SHA-256 digest of a certificate: write 64 hex digits, with or without colons, as openssl x509 -outform DER | sha256sum prints them`,
  );
}

function podOf(value: unknown): PodRef {
  const { namespace, name, uid } = fieldsOf(value, 'a pod');
  const text = textOf(uid, 'uid');
  if (!isPodUid(text)) throw malformed('a pod has a UID that is none');
  return { namespace: textOf(namespace, 'namespace'), name: textOf(name, 'name'), uid: text };
}

function idOf(value: unknown): string {
  try {
    return SpiffeId.parse(textOf(value, 'id')).uri;
  } catch (cause) {
    throw malformed('an ID is no SPIFFE ID', cause);
  }
}

function nameOf(value: unknown): string {
  const name = textOf(value, 'name');
  if (!NAME.test(name)) throw malformed('an entry has a name that is none');
  return name;
}

function textOf(value: unknown, what: string): string {
  if (typeof value === 'string' && value.length <= 4_096) return value;
  throw malformed(`${what} is no text`);
}

function timeOf(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < Date.UTC(10_000, 0))
    return value;
  throw malformed(`${what} is no time`);
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw malformed(`${what} is no list`);
}

function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw malformed(`${what} is no mapping`);
}

function malformed(finding: string, cause?: unknown): QuarantineError {
  return new QuarantineError('ledger-malformed', `the quarantine cannot be read: ${finding}`, { cause });
}
