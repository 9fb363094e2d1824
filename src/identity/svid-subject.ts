import { hash } from 'node:crypto';

/**
 * What the Subject of our SVIDs says: when it was issued, for which pod, and on which node. Envoy shows it to its rules
 * as one text, the last part first (RFC 2253), so that texts are in the order of the times of issue:
 *
 *   dnQualifier=20261122104812.345Z,UID=7d0f3b5c-58a1-4a55-9a6e-0b6c1f8f2a11,OU=59fd5a6d1ebb4a2c
 */

/** Whose certificate it is, beside the SPIFFE ID that many share. */
export interface SvidHolder {
  readonly podUid: string;
  /** Name of its node. The Subject shows a part of its hash. */
  readonly node: string;
}

const POD_UID = /^[\w.:-]{1,128}$/;

/** Whether a pod's UID can stand in a Subject as it is. The API server's are UUIDs. */
export function isPodUid(text: string): boolean {
  return POD_UID.test(text);
}

/** Certificates of one second have all but the milliseconds in common. */
let lastSecond = { second: NaN, digits: '' };

/** UTC with milliseconds, of fixed width: `20261122104812.345Z`. @param atMs ms since the epoch, up to the year 9999 */
export function issueStamp(atMs: number): string {
  const second = Math.floor(atMs / 1_000);
  if (second !== lastSecond.second) {
    const digits = new Date(second * 1_000).toISOString().slice(0, -5).replaceAll(/[-:T]/g, '');
    lastSecond = { second, digits };
  }
  const milliseconds = Math.floor(atMs - second * 1_000);
  return `${lastSecond.digits}.${String(milliseconds).padStart(3, '0')}Z`;
}

/** What stands for a node: peers need not read its name. 16 hex digits. */
export function nodeTag(node: string): string {
  return hash('sha256', node).slice(0, 16);
}

/** How a Subject begins that says this time of issue. Earlier ones are less, later ones greater. */
export function subjectIssuedAt(atMs: number): string {
  return `dnQualifier=${issueStamp(atMs)}`;
}

/** Greater than each Subject that says a time of issue. */
export const SUBJECTS_END = 'dnQualifier=:';

/** What a Subject contains that names this pod. */
export function subjectOfPod(uid: string): string {
  return `,UID=${uid},`;
}

/** How a Subject ends that names this node. */
export function subjectOfNode(node: string): string {
  return `,OU=${nodeTag(node)}`;
}

/** The whole of it, as Envoy prints it. */
export function subjectText(issuedAtMs: number, holder: SvidHolder | undefined): string {
  const issued = subjectIssuedAt(issuedAtMs);
  return holder === undefined ? issued : `${issued},UID=${holder.podUid}${subjectOfNode(holder.node)}`;
}
