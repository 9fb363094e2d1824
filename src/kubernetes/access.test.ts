import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { openAccess } from './access.ts';

let folder: string;
let file: string;
let now = 0;
const clock = (): number => now;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-access-'));
  file = join(folder, 'kubeconfig');
  now = 0;
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(cluster: object = {}, user: object = { token: 'one' }, context = 'here'): void {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: 'https://api.example:6443/prefix/', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u' } }],
    'current-context': context,
  };
  writeFileSync(file, stringify(config));
}

describe('the way to the API server', () => {
  it('is what the current context says', async () => {
    writeFileSync(join(folder, 'ca.pem'), 'CA');
    write({ 'certificate-authority': 'ca.pem', 'tls-server-name': 'kubernetes' });
    const access = openAccess(file, clock);
    expect(access.server).toBe('https://api.example:6443/prefix');
    const { tls, headers } = await access.credentials();
    expect([String(tls.ca), tls.servername]).toEqual(['CA', 'kubernetes']);
    expect(headers).toEqual({ authorization: 'Bearer one' });
  });

  it('is read anew when it is not believed, and else believed for seconds', async () => {
    write({}, { token: 'one' });
    const access = openAccess(file, clock);
    await access.credentials();
    write({}, { token: 'two' });
    expect((await access.credentials()).headers).toEqual({ authorization: 'Bearer one' });
    access.forget();
    expect((await access.credentials()).headers).toEqual({ authorization: 'Bearer two' });
  });

  it('reads a client certificate again that was replaced in place', async () => {
    const [cert, key] = [join(folder, 'c.pem'), join(folder, 'k.pem')];
    writeFileSync(cert, 'first');
    writeFileSync(key, 'key');
    write({}, { 'client-certificate': cert, 'client-key': key });
    const access = openAccess(file, clock);
    expect(String((await access.credentials()).tls.cert)).toBe('first');
    writeFileSync(cert, 'second');
    now = 10_000;
    expect(String((await access.credentials()).tls.cert)).toBe('second');
  });

  it.each([
    [{ server: 'http://api.example' }, /only https:\/\/ proves/u],
    [{ 'insecure-skip-tls-verify': true }, /insecure-skip-tls-verify is set/u],
    [{ 'proxy-url': 'http://proxy' }, /proxy-url is set/u],
  ])('is refused where nobody could say whom we talk to: %j', (cluster, message) => {
    write(cluster);
    expect(() => openAccess(file, clock)).toThrow(message);
  });

  it('is refused where the file names none, or is none', () => {
    write({}, {}, 'elsewhere');
    expect(() => openAccess(file, clock)).toThrow(/current context names no cluster/u);
    writeFileSync(file, '{');
    expect(() => openAccess(file, clock)).toThrow(/the kubeconfig .* cannot be read/u);
    rmSync(file);
    expect(() => openAccess(file, clock)).toThrow(/the kubeconfig .* cannot be read/u);
  });
});
