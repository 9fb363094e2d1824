import { AuditLog, fileSink, stdoutSink, type AuditSink } from '../../src/audit/index.ts';
import { createLogger, createMetrics, openAdminServer, type Logger } from '../../src/telemetry/index.ts';
import { reasonOf, takeDataDir } from './data-dir.ts';
import { explainListen } from './listen.ts';
import { startControlPlane } from './start.ts';
import type { ControlPlaneConfig } from './config.ts';

/**
 * Runs until SIGTERM or SIGINT. The admin port opens first and readiness comes last, so that a start that hangs or
 * fails can be told from one that goes on.
 * @returns the exit code: 0 after a clean stop, 2 where it could not start
 */
export async function runControlPlane(config: ControlPlaneConfig): Promise<number> {
  const log = createLogger({ format: config.logFormat, level: config.logLevel });
  const metrics = createMetrics();
  const notReady = new Map<string, string>([['start', 'in progress']]);
  const remarks = new Map<string, string>();
  const givenUp = new AbortController();
  const stopped = stopSignal(log, givenUp);
  const closers: (() => void | Promise<void>)[] = [];
  try {
    const admin = await explainListen('--admin', config.admin, () =>
      openAdminServer({
        ...config.admin,
        readiness: () => notReady,
        remarks: () => remarks,
        registry: metrics.registry,
      }),
    );
    closers.push(() => admin.close());
    log.info({ address: `${admin.address.address}:${admin.address.port}` }, 'admin port open');
    closers.push(takeDataDir(config.dataDir));
    const auditFailed = (error: Error): void => {
      notReady.set('audit', `audit events cannot be written: ${error.message}`);
      log.error({ err: error }, 'an audit event could not be written');
    };
    const audit = new AuditLog({
      sink: auditSink(config.auditLog, auditFailed),
      nowMs: Date.now,
      onError: auditFailed,
      onRecovered: () => {
        notReady.delete('audit');
        log.warn('audit events are written again; a gap in their sequence shows what was lost');
      },
    });
    closers.push(() => audit.close());
    const controlPlane = await startControlPlane(
      config,
      { log, metrics, audit },
      {
        starting: (step) => notReady.set('start', step),
        remark: (name, what) => {
          if (what === undefined) remarks.delete(name);
          else remarks.set(name, what);
        },
        unready: (name, what) => {
          if (what === undefined) notReady.delete(name);
          else notReady.set(name, what);
        },
      },
      givenUp.signal,
    );
    closers.push(() => controlPlane.stop());
    notReady.delete('start');
    log.info({ address: controlPlane.address, trustDomain: config.trustDomain.name }, 'ready');
    const signal = await stopped;
    notReady.set('stop', 'in progress');
    log.info({ signal }, 'stopping');
    return 0;
  } catch (error) {
    if (givenUp.signal.aborted) {
      log.info('stopped before it was ready');
      return 0;
    }
    // The message says what to do; where in the code it was noticed helps nobody who runs this.
    log.fatal(error instanceof Error ? error.message : String(error));
    log.debug({ err: error }, 'where the start failed');
    return 2;
  } finally {
    for (const close of closers.toReversed()) await close();
    log.info('stopped');
  }
}

function auditSink(file: string | undefined, onError: (error: Error) => void): AuditSink {
  if (file === undefined) return stdoutSink(onError);
  try {
    return fileSink(file);
  } catch (error) {
    throw new Error(
      `--audit-log ${file} cannot be opened: ${reasonOf(error)}. Name a file that this user may append to.`,
      { cause: error },
    );
  }
}

function stopSignal(log: Logger, givenUp: AbortController): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (asked) {
          log.warn({ signal }, 'stopping at once');
          // As if it had never been caught: process.exit would wait for a read that hangs.
          process.removeAllListeners(signal);
          process.kill(process.pid, signal);
        }
        asked = true;
        givenUp.abort();
        resolve(signal);
      });
    }
  });
}
