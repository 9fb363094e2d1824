import { pino, type Logger } from 'pino';
import pretty from 'pino-pretty';
import { printable } from '../text/index.ts';

export type { Logger };
export type LogFormat = 'json' | 'pretty';

/**
 * The process's log, on stderr: stdout belongs to data (audit events, printed documents).
 * Fields that could hold a secret are censored even if a caller should pass one by mistake.
 */
export function createLogger(options: { readonly format: LogFormat; readonly level: string }): Logger {
  const secrets = ['token', 'bearer', 'authorization', 'privateKey', 'privateKeyPem', 'key'];
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string): { level: string } => ({ level: label }) },
    redact: { paths: secrets.flatMap((name) => [name, `*.${name}`]), censor: '[secret]' },
  };
  const destination =
    options.format === 'pretty'
      ? pretty({
          destination: 2,
          sync: true,
          singleLine: true,
          colorize: process.stderr.isTTY,
          // A message may quote what a client sent: it is shown, and never obeyed by the terminal.
          messageFormat: (line, key) => {
            const message: unknown = line[key];
            return typeof message === 'string' ? printable(message) : '';
          },
        })
      : pino.destination({ dest: 2, sync: true });
  return pino(settings, destination);
}
