import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseKeySet } from './key-set.ts';
import { ecKey, IssuerServer, minute, ok, setOf, status, World } from './testing/world.ts';

const old = setOf(ecKey('old').publicKey);
const next = setOf(ecKey('next').publicKey);
const canonical = (set: string): string => parseKeySet(Buffer.from(set)).text;

let server: IssuerServer;
let worlds: World[];

const open = async (options: ConstructorParameters<typeof World>[0] = {}): Promise<World> => {
  const world = await new World(options).open();
  worlds.push(world);
  return world;
};

beforeEach(async () => {
  worlds = [];
  server = await IssuerServer.start(ok(old));
});
afterEach(async () => {
  await Promise.all(worlds.map(({ keeper }) => keeper.close()));
  await server.stop();
});

describe('JwksKeeper', () => {
  it('fetches at once, then every twenty minutes', async () => {
    const world = await open();
    world.want(server.uri());
    expect(world.keeper.get(server.uri())).toBeUndefined();
    expect(await world.event()).toEqual({
      what: 'fetched',
      uri: server.uri(),
      keys: 1,
      changed: true,
      secrets: [],
      unused: [],
    });
    expect(world.keeper.get(server.uri())).toBe(canonical(old));
    expect(world.waits()).toEqual([20 * minute]);
    world.advance(20 * minute - 1);
    expect(server.requests).toHaveLength(1);
    world.advance(1);
    expect(await world.event()).toMatchObject({ what: 'fetched', changed: false });
    expect(server.requests.map(({ headers }) => headers['user-agent'])).toEqual([
      'countersign',
      'countersign',
    ]);
    expect(world.changes).toEqual([server.uri()]);
  });

  it('tells new keys, and not the same ones in another order or dress', async () => {
    const world = await open();
    world.want(server.uri());
    await world.event();
    const [key] = JSON.parse(old).keys;
    server.answer = ok(`{ "more": true, "keys": [ ${JSON.stringify({ use: 'sig', ...key })} ] }`);
    world.advance(20 * minute);
    expect(await world.event()).toMatchObject({ changed: false });
    server.answer = ok(next);
    world.advance(20 * minute);
    expect(await world.event()).toMatchObject({ changed: true });
    expect(world.keeper.get(server.uri())).toBe(canonical(next));
    expect(world.changes).toEqual([server.uri(), server.uri()]);
  });

  it('keeps the last good keys while the server fails, tries again ever later, and recovers', async () => {
    const world = await open();
    world.want(server.uri());
    await world.event();
    const goodAtMs = world.nowMs;
    server.answer = status(500, { 'content-type': 'text/html; x="<b>"' });
    for (const waitMs of [20 * minute, 1_000, 2_000, 4_000]) {
      world.advance(waitMs);
      const event = await world.event();
      expect(event).toMatchObject({ what: 'failed', lastGoodAtMs: goodAtMs });
      expect(event).toMatchObject({ message: 'The server answered 500 (text/html).' });
      expect(world.keeper.get(server.uri())).toBe(canonical(old));
    }
    expect(world.keeper.status()).toEqual([
      {
        uri: server.uri(),
        keys: 1,
        lastGoodAtMs: goodAtMs,
        failure: { atMs: world.nowMs, message: 'The server answered 500 (text/html).' },
        nextTryMs: world.nowMs + 8_000,
      },
    ]);
    server.answer = ok(next);
    world.advance(8_000);
    expect(await world.event()).toMatchObject({ what: 'fetched', changed: true });
    expect(world.keeper.status()).toMatchObject([{ failure: undefined, lastGoodAtMs: world.nowMs }]);
    expect(world.waits()).toEqual([20 * minute]);
  });

  it.each([
    ['max-age=300', undefined, 5 * minute],
    ['public, Max-Age=300, must-revalidate', '60', 4 * minute],
    ['max-age=1', undefined, minute],
    ['max-age=31536000', undefined, 60 * minute],
    ['no-store', undefined, 20 * minute],
    ['x-max-age=60', undefined, 20 * minute],
    ['max-age=-5', 'never', 20 * minute],
  ])('with Cache-Control %s and Age %s fetches again after %d ms', async (cacheControl, age, expectedMs) => {
    server.answer = ok(old, { 'cache-control': cacheControl, ...(age === undefined ? {} : { age }) });
    const world = await open();
    world.want(server.uri());
    await world.event();
    expect(world.waits()).toEqual([expectedMs]);
  });

  it('refuses garbage and sets without a usable key, and goes on with what it has', async () => {
    const world = await open();
    world.want(server.uri());
    await world.event();
    const symmetric = setOf({ kty: 'oct', k: 'c2VjcmV0' });
    for (const [body, message, waitMs] of [
      ['<html>secret</html>', /no JSON/u, 20 * minute],
      ['{"keys":[]}', /no usable key/u, 1_000],
      [symmetric, /symmetric/u, 2_000],
      ['x'.repeat(1_048_577), /longer than the 1048576 bytes/u, 4_000],
    ] as const) {
      server.answer = ok(body);
      world.advance(waitMs);
      const found = await world.failure();
      expect(found).toMatch(message);
      expect(found).not.toMatch(/secret|c2VjcmV0/u);
      expect(world.keeper.get(server.uri())).toBe(canonical(old));
    }
  });

  it('takes the public part of a private key, and says that it was published', async () => {
    const { publicKey, privateKey } = ecKey('leaked');
    server.answer = ok(setOf(privateKey));
    const world = await open();
    world.want(server.uri());
    expect(await world.event()).toMatchObject({ keys: 1, secrets: ['keys[0]'] });
    expect(world.keeper.get(server.uri())).toBe(canonical(setOf(publicKey)));
  });

  it('forgets what is no longer wanted, also in the middle of a fetch', async () => {
    const world = await open();
    const slow = server.uri('/slow');
    const arrived = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    server.answer = (request, response) => {
      if (request.url !== '/slow') return ok(old)(request, response);
      response.on('close', () => gone.resolve());
      arrived.resolve();
      return undefined;
    };
    world.want(server.uri(), slow);
    await world.event();
    await arrived.promise;
    world.want();
    await gone.promise;
    expect(world.keeper.get(server.uri())).toBeUndefined();
    expect(world.keeper.status()).toEqual([]);
    expect(world.waits().filter((ms) => ms > 5_000)).toEqual([]);
  });

  it('never asks for one URI twice at a time', async () => {
    const world = await open();
    const held: (() => void)[] = [];
    server.answer = (request, response) => void held.push(() => ok(old)(request, response));
    world.want(server.uri());
    world.want(server.uri());
    world.advance(4_999);
    world.want(server.uri());
    while (held.length === 0) await new Promise((done) => setImmediate(done));
    held[0]?.();
    await world.event();
    expect(server.requests).toHaveLength(1);
  });

  it('lets URIs that fail wait behind the others, and asks few at a time', async () => {
    const world = await open({ maxConcurrent: 1 });
    const [dead, busy, fresh] = [server.uri('/dead'), server.uri('/busy'), server.uri('/fresh')];
    server.answer = status(503);
    world.want(dead);
    await world.event();
    const held = Promise.withResolvers<() => void>();
    server.answer = (request, response) => held.resolve(() => ok(old)(request, response));
    world.want(dead, busy);
    const release = await held.promise;
    world.advance(1_000);
    world.want(dead, busy, fresh);
    server.answer = ok(old);
    release();
    const events = [await world.event(), await world.event(), await world.event()];
    expect(events.map(({ uri }) => uri)).toEqual([busy, fresh, dead]);
  });

  it('calls the other listeners where one fails, and none that was stopped', async () => {
    const world = await open();
    const heard: string[] = [];
    world.keeper.onChange(() => {
      throw new Error('a bug');
    });
    world.keeper.onChange((uri) => void heard.push(uri));
    world.keeper.onChange(() => void heard.push('stopped'))();
    world.want(server.uri());
    expect(await world.event()).toMatchObject({ what: 'fetched' });
    expect(world.listenerErrors).toEqual(['a bug']);
    expect(heard).toEqual([server.uri()]);
    expect(world.keeper.status()).toMatchObject([{ keys: 1, failure: undefined }]);
  });

  it('calls nobody after it was closed', async () => {
    const world = await open();
    server.answer = () => undefined;
    world.want(server.uri());
    await world.keeper.close();
    world.want(server.uri());
    expect(world.keeper.status()).toEqual([]);
    expect(world.waits()).toEqual([]);
  });
});

describe('JwksKeeper with a directory', () => {
  let base: string;
  let directory: string;

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'countersign-'));
    directory = join(base, 'jwks');
  });
  // What is fetched last may still be on its way to its file.
  afterEach(() => rm(base, { recursive: true, force: true, maxRetries: 10 }));

  const kept = async (...paths: readonly string[]): Promise<string> => {
    const world = await open({ directory });
    world.want(...paths.map((path) => server.uri(path)));
    for (const _ of paths) expect(await world.event()).toMatchObject({ what: 'fetched' });
    await world.keeper.close();
    return join(directory, String((await readdir(directory))[0]));
  };

  it('has the last good keys after a restart while the server is away', async () => {
    await kept('/keys');
    server.answer = status(503);
    const world = await open({ directory });
    world.nowMs += minute;
    expect(world.keeper.get(server.uri())).toBeUndefined();
    world.want(server.uri());
    expect(world.keeper.get(server.uri())).toBe(canonical(old));
    expect(await world.event()).toMatchObject({ what: 'failed', lastGoodAtMs: world.nowMs - minute });
    expect(world.keeper.get(server.uri())).toBe(canonical(old));
    server.answer = ok(old);
    world.advance(1_000);
    expect(await world.event()).toMatchObject({ what: 'fetched', changed: false });
    expect(world.changes).toEqual([]);
  });

  it('writes a file of mode 0600 for each URI, and removes those that are no longer wanted', async () => {
    const file = await kept('/a', '/b');
    expect([(await stat(directory)).mode & 0o777, (await stat(file)).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(await readdir(directory)).toHaveLength(2);
    const world = await open({ directory });
    world.want(server.uri('/b'));
    await world.event();
    await world.keeper.close();
    expect(await readdir(directory)).toHaveLength(1);
    const again = await open({ directory });
    again.want(server.uri('/b'), server.uri('/c'));
    again.want(server.uri('/c'));
    await again.event();
    await again.keeper.close();
    const [left = ''] = await readdir(directory);
    expect(await readFile(join(directory, left), 'utf8')).toContain('/c');
  });

  it.each([
    '',
    'not JSON: secret',
    '{}',
    '{"version":1,"uri":"http://other.test/","fetchedAtMs":1,"jwks":"{}"}',
  ])('says that it leaves out a damaged file (%s), and fetches', async (content) => {
    const file = await kept('/keys');
    await writeFile(file, content);
    const world = await open({ directory });
    expect(world.notKept).toEqual([expect.stringContaining(file)]);
    expect(world.notKept[0]).not.toContain('secret');
    world.want(server.uri());
    expect(world.keeper.get(server.uri())).toBeUndefined();
    expect(await world.event()).toMatchObject({ changed: true });
  });

  it('cleans up what a crash left, and nothing else', async () => {
    const file = await kept('/keys');
    await writeFile(`${file}.001122334455.tmp`, 'cut off');
    await writeFile(join(directory, 'notes.txt'), 'mine');
    await open({ directory });
    expect((await readdir(directory)).sort()).toEqual([expect.stringMatching(/\.json$/u), 'notes.txt']);
  });

  it('refuses a directory that others may write to', async () => {
    await mkdir(directory);
    await chmod(directory, 0o777);
    await expect(new World({ directory }).open()).rejects.toMatchObject({ code: 'store-too-open' });
  });

  it('goes on in memory where the directory takes no files, and says so', async () => {
    const world = await open({ directory });
    await rm(directory, { recursive: true });
    world.want(server.uri());
    expect(await world.event()).toMatchObject({ what: 'fetched' });
    await world.keeper.close();
    expect(world.notKept).toEqual([expect.stringContaining('ENOENT')]);
  });
});
