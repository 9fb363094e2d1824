import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TrustDomain } from '../identity/index.ts';
import { Authority, directoryKeyStore, memoryKeyStore, type StoredAuthority } from './index.ts';

const td = TrustDomain.parse('example.org');
const code = (expected: string): unknown =>
  expect.objectContaining({ name: 'AuthorityError', code: expected });
let base: string;
let directory: string;
let file: string;
let state: StoredAuthority;

const open = (): Promise<Authority> =>
  Authority.open({
    store: directoryKeyStore(directory),
    trustDomain: td,
    nowMs: () => Date.now(),
    svidTtlMs: 60_000,
  });
const mode = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'countersign-'));
  directory = join(base, 'keys');
  file = join(directory, 'authority.json');
  const store = memoryKeyStore();
  await Authority.open({ store, trustDomain: td, nowMs: () => Date.now(), svidTtlMs: 60_000 });
  state = (await store.load())!;
});
afterEach(() => rm(base, { recursive: true, force: true }));

describe('directoryKeyStore', () => {
  it('gives back what it kept, and nothing where nothing was kept', async () => {
    expect(await directoryKeyStore(directory).load()).toBeUndefined();
    await directoryKeyStore(directory).save(state);
    expect(await directoryKeyStore(directory).load()).toEqual({
      ...state,
      bundle: { x509Authorities: state.bundle.x509Authorities, sequence: 1, refreshHintSeconds: undefined },
    });
  });

  it('makes a file of mode 0600 in a directory of mode 0700, and leaves nothing else', async () => {
    await directoryKeyStore(directory).save(state);
    expect([await mode(directory), await mode(file)]).toEqual(['700', '600']);
    expect(await readdir(directory)).toEqual(['authority.json']);
  });

  it('keeps the mode when it replaces, and cleans up what a crash left', async () => {
    const store = directoryKeyStore(directory);
    await store.save(state);
    await writeFile(`${file}.00ff.tmp`, 'cut off');
    await store.save(state);
    expect(await mode(file)).toBe('600');
    await store.load();
    expect(await readdir(directory)).toEqual(['authority.json']);
  });

  it('brings the same root back after a restart', async () => {
    const [before, after] = [await open(), await open()];
    expect(after.bundle).toEqual(before.bundle);
  });

  it.each([0o640, 0o604, 0o660, 0o666])('refuses a key file of mode %o', async (open_) => {
    await directoryKeyStore(directory).save(state);
    await chmod(file, open_);
    await expect(open()).rejects.toThrow(code('store-too-open'));
    await expect(open()).rejects.toThrow(file);
  });

  it.each([0o770, 0o702, 0o777])(
    'refuses a directory of mode %o, into which others may write',
    async (open_) => {
      await directoryKeyStore(directory).save(state);
      await chmod(directory, open_);
      await expect(open()).rejects.toThrow(code('store-too-open'));
      await expect(open()).rejects.toThrow(`chmod 700 ${directory}`);
    },
  );

  it('refuses a damaged file, keeps it, and shows none of it', async () => {
    await directoryKeyStore(directory).save(state);
    const good = await readFile(file, 'utf8');
    const secret = state.root.privateKeyPem!.split('\n')[1]!;
    const damaged = [
      '',
      '{}',
      'null',
      good.slice(0, -10),
      good.slice(good.indexOf('BEGIN PRIVATE')),
      good.replace('"format": 2', '"format": 4'),
      good.replace('example.org', 'Example.org'),
      good.replaceAll('MII', 'MIA'),
      good.replace(secret, secret.toLowerCase()),
    ];
    for (const text of damaged) {
      await writeFile(file, text);
      const error: unknown = await open().catch((cause: unknown) => cause);
      expect(error, text.slice(0, 40)).toEqual(code('store-corrupted'));
      expect(String(error)).toMatch(/backup/);
      expect(String(error)).not.toContain(secret);
      expect(await readFile(file, 'utf8')).toBe(text);
    }
  });

  it('refuses what it cannot read: a directory or a link in the place of the file', async () => {
    await directoryKeyStore(directory).load();
    await symlink('/nowhere', file);
    await expect(open()).rejects.toThrow(code('store-unreadable'));
    await rm(file);
    await mkdir(file, { mode: 0o700 });
    await expect(open()).rejects.toThrow(code('store-unreadable'));
  });

  it('refuses a path that cannot be a directory', async () => {
    await writeFile(directory, 'a file');
    await expect(open()).rejects.toThrow(code('store-unwritable'));
  });

  it('of two processes that start at once, one makes the root and the other says so', async () => {
    const [one, two] = [directoryKeyStore(directory), directoryKeyStore(directory)];
    await Promise.all([one.load(), two.load()]);
    await one.save(state);
    await expect(two.save(state)).rejects.toThrow(code('store-conflict'));
    expect(await readdir(directory)).toEqual(['authority.json']);
  });

  it('makes no root where there was one, and says what to do', async () => {
    const opening = Authority.open({
      store: directoryKeyStore(directory),
      trustDomain: td,
      nowMs: () => Date.now(),
      svidTtlMs: 60_000,
      rootEvidence: '/data/bundle.json',
    });
    await expect(opening).rejects.toThrow(code('root-lost'));
    await expect(opening).rejects.toThrow(`There is no root in ${file}, but /data/bundle.json says`);
    expect(await readdir(directory)).toEqual([]);
  });

  it('survives kill -9 at any moment: the old state or the new one, and never a new root', async () => {
    await directoryKeyStore(directory).save(state);
    let reached = 1;
    for (let round = 0; round < 8; round += 1) {
      const child = fork(join(import.meta.dirname, 'testing-save-loop.ts'), [directory], { execArgv: [] });
      const killed = once(child, 'exit');
      await once(child, 'message');
      // Each round is cut off at another point of a save.
      await new Promise((done) => setTimeout(done, round * 3));
      child.kill('SIGKILL');
      await killed;
      const loaded = await directoryKeyStore(directory).load();
      expect(loaded?.root).toEqual(state.root);
      expect(loaded?.bundle.sequence).toBeGreaterThanOrEqual(reached);
      reached = loaded?.bundle.sequence ?? 0;
      expect(await readdir(directory)).toEqual(['authority.json']);
    }
    expect(reached).toBeGreaterThan(1);
  });
});
