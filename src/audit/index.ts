export { AuditLog, fileSink, stdoutSink, type AuditSink } from './audit-log.ts';
export type { AuditEvent, AuditFactor, AuditRefusedResource } from './types.ts';
