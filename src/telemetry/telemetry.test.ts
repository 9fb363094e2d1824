import { spawnSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { createMetrics, openAdminServer, type AdminServer } from './index.ts';

let server: AdminServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function open(notReady: ReadonlyMap<string, string>): Promise<string> {
  server = await openAdminServer({
    host: '127.0.0.1',
    port: 0,
    readiness: () => notReady,
    registry: createMetrics().registry,
  });
  return `http://127.0.0.1:${server.address.port}`;
}

describe('admin server', () => {
  it('is healthy while it is not ready, and says what is missing', async () => {
    const missing = new Map([['start', 'in progress']]);
    const base = await open(missing);
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
    const notYet = await fetch(`${base}/readyz`);
    expect([notYet.status, await notYet.text()]).toEqual([503, 'start: in progress\n']);
    missing.clear();
    expect((await fetch(`${base}/readyz?verbose`)).status).toBe(200);
  });

  it('shows metrics in Prometheus form, and takes nothing but GET', async () => {
    const base = await open(new Map());
    const metrics = await fetch(`${base}/metrics`);
    expect(metrics.headers.get('content-type')).toContain('text/plain');
    expect(await metrics.text()).toMatch(/^# TYPE countersign_svids_issued_total counter$/mu);
    expect((await fetch(`${base}/readyz`, { method: 'POST' })).status).toBe(405);
    expect((await fetch(`${base}/debug`)).status).toBe(404);
  });

  it('passes on that its port is taken', async () => {
    const base = await open(new Map());
    const port = Number(new URL(base).port);
    const registry = createMetrics().registry;
    await expect(
      openAdminServer({ host: '127.0.0.1', port, readiness: () => new Map(), registry }),
    ).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

describe('logger', () => {
  const run = (format: string): { stdout: string; stderr: string } => {
    const script = `
      import { createLogger } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
      const log = createLogger({ format: '${format}', level: 'info' });
      log.info({ pod: 'shop/web', token: 'sensitive-1', call: { authorization: 'sensitive-2' } }, 'hello');
      log.debug('not seen');`;
    return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  };

  it('writes JSON to stderr and leaves stdout alone', () => {
    const { stdout, stderr } = run('json');
    expect(stdout).toBe('');
    expect(JSON.parse(stderr)).toMatchObject({
      level: 'info',
      msg: 'hello',
      pod: 'shop/web',
      token: '[secret]',
    });
  });

  it.each(['json', 'pretty'])('censors what could be a secret (%s)', (format) => {
    const { stderr } = run(format);
    expect(stderr).toContain('hello');
    expect(stderr).not.toContain('sensitive');
  });
});
