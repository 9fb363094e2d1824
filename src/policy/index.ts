export type * from './types.ts';
export { renderIssues } from './findings.ts';
export { parseAuthorizationPolicy, type ParseOptions } from './parse.ts';
export { normalizePath, type EscapedSlashes } from './path.ts';
export { parseRuleName, ruleName } from './rule-name.ts';
export { policiesFor, selects } from './select.ts';
export { compile, type CompiledFilters, type CompileNote, type CompileOptions } from './compile.ts';
export type { HttpRbac, RbacFilter, RbacPolicy, RbacRules, TcpRbac } from './envoy-types.ts';
export { evaluate, Evaluator, type EvaluateOptions } from './evaluate.ts';
