import { readHeader, readSelector, type Header } from '../document.ts';
import type { Findings } from '../findings.ts';
import { readFields, type Fields } from '../shape.ts';
import type { AuthorizationPolicy } from '../types.ts';

export interface AuthnDocument {
  readonly header: Header;
  readonly selector: AuthorizationPolicy['selector'];
  readonly spec: Fields;
}

/** Envelope and selector of the two kinds; undefined (and said so) where there is no envelope. */
export function readAuthnDocument(
  document: unknown,
  kind: 'RequestAuthentication' | 'PeerAuthentication',
  known: readonly string[],
  findings: Findings,
): AuthnDocument | undefined {
  const header = readHeader(document, kind, findings);
  if (header === undefined) return undefined;
  const shape = { known: ['selector', ...known], unsupported: ['targetRef', 'targetRefs'] };
  const spec = readFields(header.spec ?? {}, 'spec', shape, findings) ?? {};
  if (header.dryRun === true)
    findings.warn(
      'metadata.annotations["istio.io/dry-run"]',
      `has no effect: a ${kind} is no rehearsal, it is enforced`,
    );
  return { header, selector: readSelector(spec['selector'], findings), spec };
}
