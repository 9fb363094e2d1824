import { readKeySet } from '../../src/keyset/index.ts';
import {
  compilePeerModes,
  compilePeerRequests,
  compileRequestAuthentications,
  parseCases,
  parseMeshConfig,
  parsePeerAuthentication,
  parseRequestAuthentication,
  type Issue,
} from '../../src/policy/index.ts';
import { checkPeerAuthentication, checkRequestAuthentication } from './authn-invariants.ts';
import { SECRET, type Kind, type Written } from './documents.ts';
import { demand } from './reading.ts';
import { checkCases, checkMesh } from './settings-invariants.ts';

/** What documents that are no AuthorizationPolicy go through. */
export interface Parsers {
  readonly RequestAuthentication: typeof parseRequestAuthentication;
  readonly PeerAuthentication: typeof parsePeerAuthentication;
  readonly mesh: typeof parseMeshConfig;
  readonly cases: typeof parseCases;
  readonly keys: typeof readKeySet;
  readonly compileRequest: typeof compileRequestAuthentications;
  readonly compilePeers: typeof compilePeerModes;
  readonly compilePeerHttp: typeof compilePeerRequests;
}

export const OURS: Parsers = {
  RequestAuthentication: parseRequestAuthentication,
  PeerAuthentication: parsePeerAuthentication,
  mesh: parseMeshConfig,
  cases: parseCases,
  keys: readKeySet,
  compileRequest: compileRequestAuthentications,
  compilePeers: compilePeerModes,
  compilePeerHttp: compilePeerRequests,
};

/** Takes a document all the way. Throws where anything is not as promised. @returns whether it was taken */
export function throughParser({ kind, value }: Written, parsers: Parsers = OURS): boolean {
  switch (kind) {
    case 'RequestAuthentication': {
      const parsed = parsers.RequestAuthentication(value);
      checkIssues(parsed, kind);
      if (!parsed.ok) return false;
      demand(!JSON.stringify(parsed.policy).includes(SECRET), 'a secret is kept');
      checkRequestAuthentication(value, parsed.policy, parsers);
      return true;
    }
    case 'PeerAuthentication': {
      const parsed = parsers.PeerAuthentication(value, { rootNamespace: 'root' });
      checkIssues(parsed, kind);
      if (parsed.ok) checkPeerAuthentication(value, parsed.policy, parsers);
      return parsed.ok;
    }
    case 'mesh': {
      const parsed = parsers.mesh(value);
      checkIssues(parsed, kind);
      if (parsed.ok) checkMesh(value, parsed.settings);
      return parsed.ok;
    }
    case 'cases': {
      const parsed = parsers.cases(value, { trustDomain: 'td' });
      checkIssues(parsed, kind);
      if (parsed.ok) checkCases(value, parsed.cases);
      return parsed.ok;
    }
    case 'keys': {
      const read = parsers.keys(String(value));
      demand(!JSON.stringify(read).includes(SECRET), 'a key is repeated');
      if (read.ok) checkAgain(read.text, parsers);
      return read.ok;
    }
    default:
      return kind satisfies never;
  }
}

function checkIssues(parsed: { readonly ok: boolean; readonly issues: readonly Issue[] }, kind: Kind): void {
  const failed = parsed.issues.some(({ severity }) => severity === 'error');
  demand(parsed.ok === !failed, `a ${kind} and an error, or neither`);
  demand(parsed.issues.length <= 202, `${parsed.issues.length} issues`);
  for (const { path, message } of parsed.issues) {
    demand(message.length < 4_000, `a message of ${message.length} characters`);
    const digits = SECRET.slice(-8);
    demand(!`${path} ${message}`.includes(digits), `a secret is repeated: ${kind} ${path}`);
  }
}

/** What a set is written as, is read as the same. */
function checkAgain(text: string, { keys }: Parsers): void {
  const again = keys(text);
  demand(again.ok && again.text === text && again.secrets.length === 0, 'a set that is not read as written');
}
