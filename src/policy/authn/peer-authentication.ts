import { digestOfMeaning, sorted } from '../digest.ts';
import { Findings } from '../findings.ts';
import type { ParseOptions } from '../parse.ts';
import { describe, isFields, join, quote, readFields } from '../shape.ts';
import { parseTime } from '../validity.ts';
import { readAuthnDocument, type AuthnDocument } from './document.ts';
import type { ParsedPeerAuthentication, PeerAuthentication, PeerMode } from './types.ts';

const MODES: readonly PeerMode[] = ['STRICT', 'PERMISSIVE', 'DISABLE'];
const PORTS = 'spec.portLevelMtls';

/**
 * Checks one PeerAuthentication document, as `parseAuthorizationPolicy` does its own. Any error refuses the whole
 * document. Never throws.
 */
export function parsePeerAuthentication(
  document: unknown,
  options: ParseOptions = {},
): ParsedPeerAuthentication {
  const findings = new Findings();
  const read = readAuthnDocument(document, 'PeerAuthentication', ['mtls', 'portLevelMtls'], findings);
  if (read === undefined) return { ok: false, issues: findings.issues };
  const { apiGroup, namespace, name } = read.header;
  const { selector } = read;
  const mode = readMtls(read.spec['mtls'], 'spec.mtls', findings);
  const ports = readPorts(read, findings);
  const createdAtMs = readCreated(read.header.created, findings);
  if (findings.failed) return { ok: false, issues: findings.issues };
  if (Object.keys(selector).length > 0 && namespace === options.rootNamespace)
    findings.warn(
      'spec.selector',
      'a document of the root namespace holds for the mesh: with a selector it is not used at all; remove the selector, or move it to the namespace of the pods',
      'selects-nothing',
    );
  const meaning = [namespace, name, sorted(selector), mode ?? null, portList(ports), createdAtMs ?? null];
  const digest = digestOfMeaning(['PeerAuthentication', ...meaning]);
  const policy: PeerAuthentication = {
    ...{ apiGroup, namespace, name, selector, mode, ports, createdAtMs, digest },
  };
  return { ok: true, policy, issues: findings.issues };
}

function readMtls(value: unknown, path: string, findings: Findings): PeerMode | undefined {
  if (value === undefined || value === null) return undefined;
  const mode = readFields(value, path, { known: ['mode'] }, findings)?.['mode'];
  if (mode === undefined || mode === 'UNSET') return undefined;
  const found = MODES.find((each) => each === mode);
  if (found === undefined)
    findings.error(`${path}.mode`, `expected ${MODES.join(', ')} or UNSET, found ${describe(mode)}`);
  if (found === 'PERMISSIVE')
    findings.warn(
      `${path}.mode`,
      'PERMISSIVE lets callers in that prove no identity; for a migration, set STRICT when it is over',
      'plaintext',
    );
  if (found === 'DISABLE')
    findings.warn(
      `${path}.mode`,
      'DISABLE takes plaintext alone: no caller can prove who it is, and rules on identities match nobody',
      'plaintext',
    );
  return found;
}

function readPorts(
  { spec, selector }: AuthnDocument,
  findings: Findings,
): ReadonlyMap<number, PeerMode | undefined> {
  const value = spec['portLevelMtls'];
  const ports: [number, PeerMode | undefined][] = [];
  if (value === undefined || value === null) return new Map(ports);
  if (!isFields(value)) {
    findings.error(PORTS, `expected a mapping of ports, found ${describe(value)}`);
    return new Map(ports);
  }
  if (Object.keys(selector).length === 0)
    findings.error(PORTS, 'needs a selector: ports belong to workloads; add spec.selector.matchLabels');
  for (const name of Object.keys(value)) {
    const path = join(PORTS, name);
    const port = /^[1-9][0-9]{0,4}$/.test(name) ? Number(name) : 0;
    if (port < 1 || port > 65_535)
      findings.error(path, `${quote(name)} is no port: a number from 1 to 65535`);
    ports.push([port, readMtls(value[name], path, findings)]);
  }
  return new Map(ports.toSorted(([a], [b]) => a - b));
}

function portList(ports: PeerAuthentication['ports']): unknown {
  return [...ports].map(([port, mode]) => [port, mode ?? null]);
}

/** Kubernetes' tools write null where an object was not created yet. */
function readCreated(value: unknown, findings: Findings): number | undefined {
  if (value === undefined || value === null) return undefined;
  const time = typeof value === 'string' ? parseTime(value) : undefined;
  if (time === undefined)
    findings.error(
      'metadata.creationTimestamp',
      `expected a time such as "2027-01-31T18:00:00Z", found ${describe(value)}`,
    );
  return time;
}
