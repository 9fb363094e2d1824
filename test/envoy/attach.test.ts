import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { httpApp, type App } from '../harness/app.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { call } from '../harness/http.ts';
import { countersign, envoyPath, root } from '../harness/paths.ts';
import { freePort, loopbackSubnet } from '../harness/ports.ts';
import { run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';

/** What the examples name, and the free ports that they get here. */
interface Ports {
  readonly controlPlane: number;
  readonly controlPlaneAdmin: number;
  readonly admin: number;
  readonly inbound: number;
}

/** A folder like a checkout, with the examples on other ports. */
function checkout(ports: Ports, app: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-attach-'));
  for (const name of ['cmd', 'deploy']) symlinkSync(join(root, name), join(folder, name));
  mkdirSync(join(folder, 'bin'));
  symlinkSync(envoyPath(), join(folder, 'bin/envoy'));
  cpSync(join(root, 'docs/examples'), join(folder, 'docs/examples'), { recursive: true });
  rewrite(join(folder, 'docs/examples/envoy.yaml'), {
    15012: `${ports.controlPlane}`,
    15000: `${ports.admin}`,
    'port_value: 8443': `port_value: ${ports.inbound}`,
    'port_value: 8080': `port_value: ${app}`,
  });
  const listen = `--listen 127.0.0.1:${ports.controlPlane} --admin 127.0.0.1:${ports.controlPlaneAdmin}`;
  rewrite(join(folder, 'docs/examples/attach.sh'), {
    'countersign control-plane': `countersign control-plane ${listen}`,
    'envoy -c': `envoy --base-id ${process.pid * 100} -c`,
    15000: `${ports.admin}`,
  });
  return folder;
}

/** @throws Error where the file does not hold one of the texts */
function rewrite(file: string, changes: Readonly<Record<string, string>>): void {
  let text = readFileSync(file, 'utf8');
  for (const [before, after] of Object.entries(changes)) {
    if (!text.includes(before)) throw new Error(`${file} has no ${before}`);
    text = text.replaceAll(before, after);
  }
  writeFileSync(file, text);
}

describe('docs/examples: an Envoy whose bootstrap was written by hand', () => {
  let folder: string;
  let ports: Ports;
  let app: App;
  let shell: ChildProcess;
  let output = '';
  const endShell = (): void => {
    // Its own group: the control plane and Envoy are in it.
    if (shell.pid !== undefined) process.kill(-shell.pid, 'SIGTERM');
  };

  beforeAll(async () => {
    ports = {
      controlPlane: await freePort(),
      controlPlaneAdmin: await freePort(),
      admin: await freePort(),
      inbound: await freePort(),
    };
    app = await httpApp('cart');
    folder = checkout(ports, app.port);
    shell = spawn('sh', ['-c', '. docs/examples/attach.sh; echo "ended with $?"; wait'], {
      cwd: folder,
      detached: true,
      env: { ...process.env, PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH']}` },
    });
    process.once('exit', endShell);
    for (const stream of [shell.stdout, shell.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
    await waitFor('the end of the script', () => (output.includes('ended with') ? true : undefined), {
      timeoutMs: 45_000,
    });
  });
  afterAll(async () => {
    process.off('exit', endShell);
    const ended = once(shell, 'close');
    endShell();
    // Control plane and Envoy hold its output open until they end, too.
    await ended;
    app.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('attaches in five lines of shell, which end with what it acknowledged', () => {
    const lines = readFileSync(join(root, 'docs/examples/attach.sh'), 'utf8').split('\n');
    expect(lines.filter((line) => line !== '' && !line.startsWith('#'))).toHaveLength(5);
    expect(output).toContain('ended with 0');
    expect(output).toMatch(/^shop\/cart +DeltaAggregatedResources +[0-9a-f]{16} .* 5\/5 acknowledged$/mu);
  });

  it('takes calls by mTLS from whom the policies allow', async () => {
    const ip = `${loopbackSubnet()}.11`;
    const data = join(folder, 'data');
    const { stdout: token } = await run(countersign, ['token', '--data-dir', data, '--pod', 'shop/web']);
    const web = await TestEnvoy.start({
      pod: 'shop/web',
      folder,
      controlPlane: `127.0.0.1:${ports.controlPlane}`,
      bundle: join(data, 'bundle.pem'),
      token,
      flags: ['--outbound', `${ip}:9001=127.0.0.1:${ports.inbound}=spiffe://cluster.local/ns/shop/sa/cart`],
    });
    try {
      await web.ready();
      const ask = async (path: string, method = 'GET'): Promise<number> =>
        (await call({ host: ip, port: 9_001, path, method })).status;
      expect(await ask('/items')).toBe(200);
      expect(await ask('/items/42', 'POST')).toBe(200);
      expect(await ask('/items/42', 'DELETE')).toBe(403);
      expect(await ask('/items/../admin')).toBe(403);
      expect((await call({ host: '127.0.0.1', port: ports.inbound, path: '/items' })).status).toBe(0);
    } finally {
      await web.stop();
    }
  });
});
