import { digestOfMeaning, sorted } from '../digest.ts';
import { Findings } from '../findings.ts';
import { readAuthnDocument } from './document.ts';
import { readJwtRules } from './jwt-rules.ts';
import type { ParsedRequestAuthentication, RequestAuthentication } from './types.ts';

/**
 * Checks one RequestAuthentication document, as `parseAuthorizationPolicy` does its own. Any error refuses the whole
 * document. Never throws.
 */
export function parseRequestAuthentication(document: unknown): ParsedRequestAuthentication {
  const findings = new Findings();
  const read = readAuthnDocument(document, 'RequestAuthentication', ['jwtRules'], findings);
  if (read === undefined) return { ok: false, issues: findings.issues };
  const { apiGroup, namespace, name } = read.header;
  const { selector } = read;
  const jwtRules = readJwtRules(read.spec['jwtRules'], findings);
  if (findings.failed) return { ok: false, issues: findings.issues };
  if (jwtRules.length === 0) findings.warn('spec.jwtRules', 'has no rules: the document verifies nothing');
  const digest = digestOfMeaning(['RequestAuthentication', namespace, name, sorted(selector), jwtRules]);
  const policy: RequestAuthentication = { apiGroup, namespace, name, selector, jwtRules, digest };
  return { ok: true, policy, issues: findings.issues };
}
