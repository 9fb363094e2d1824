import type { Findings } from './findings.ts';
import type { ParseOptions } from './parse.ts';
import type { AuthorizationPolicy } from './types.ts';

/** Warnings about a policy that is valid and yet hardly what its author meant. */
export function lint(policy: AuthorizationPolicy, options: ParseOptions, findings: Findings): void {
  void policy;
  void options;
  void findings;
}
