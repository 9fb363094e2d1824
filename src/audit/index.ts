export { AuditLog, fileSink, stdoutSink, type AuditSink } from './audit-log.ts';
export type { AuditEvent, AuditFactor } from './types.ts';
