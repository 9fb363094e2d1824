export { createLogger, type LogFormat, type Logger } from './logger.ts';
export { createMetrics, type Metrics } from './metrics.ts';
export { openAdminServer, type AdminServer, type Readiness } from './admin-server.ts';
