export { callOperator } from './client.ts';
export { OperatorError, type OperatorStatus } from './errors.ts';
export { openOperatorServer, type OperatorHandlers, type OperatorServer } from './server.ts';
export type * from './messages.ts';
