import { createServer, connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Access } from './access.ts';
import { ApiServer } from './api-server.ts';
import { FakeApiServer, listOf, thing } from './testing.ts';

let fake: FakeApiServer;
let access: Access;
let api: ApiServer;

beforeEach(async () => {
  fake = new FakeApiServer();
  access = await fake.start();
  api = new ApiServer({ access, times: { connectMs: 2_000, pingMs: 20, pongMs: 100 } });
});
afterEach(async () => {
  await api.close();
  await fake.stop();
});

describe('the client of the API server', () => {
  it('says what the API server says', async () => {
    fake.answer = ({ json }) =>
      json({ kind: 'Status', code: 403, reason: 'Forbidden', message: 'pods is forbidden' }, 403);
    await expect(api.get('/api/v1/pods')).rejects.toMatchObject({
      code: 'REFUSED',
      message: 'GET /api/v1/pods: 403 pods is forbidden',
      refused: { status: 403, reason: 'Forbidden' },
      away: false,
    });
  });

  it('posts JSON and reads JSON', async () => {
    fake.answer = ({ method, headers, json }) => json({ method, type: headers['content-type'] });
    expect(await api.post('/x', { a: 1 })).toEqual({ method: 'POST', type: 'application/json' });
  });

  it.each([
    ['no JSON', 'nonsense'],
    ['a list', '[]'],
  ])('refuses an answer that is %s', async (_, text) => {
    fake.answer = ({ open }) => {
      const answer = open();
      answer.write(text);
      answer.end();
    };
    await expect(api.get('/x')).rejects.toMatchObject({ code: 'MALFORMED' });
  });

  it('waits for an answer no longer than it was told to', async () => {
    fake.answer = ({ open }) => open();
    await expect(api.get('/x', { timeoutMs: 30 })).rejects.toMatchObject({ code: 'TIMED_OUT', away: true });
  });

  it('reads its credentials anew when they are not believed, once', async () => {
    const forget = vi.spyOn(access, 'forget');
    fake.answer = ({ json }) => json({ kind: 'Status', code: 401 }, 401);
    await expect(api.get('/x')).rejects.toMatchObject({ refused: { status: 401 } });
    expect(fake.requests).toHaveLength(2);
    expect(forget).toHaveBeenCalledTimes(1);
  });

  it('sends everything over one connection, and over another when it is told to go away', async () => {
    fake.answer = ({ path, json, open }) => (path === '/watch' ? open() : json({}));
    const stopping = new AbortController();
    const events = await api.watch('/watch?watch=true', { signal: stopping.signal, silentMs: 60_000 });
    await Promise.all([api.get('/a'), api.get('/b'), api.get('/c')]);
    expect(fake.sessions.size).toBe(1);
    for (const session of fake.sessions) session.goaway();
    await vi.waitFor(async () => {
      await api.get('/d');
      expect(fake.sessions.size).toBe(2);
    });
    stopping.abort();
    await expect(events.next()).rejects.toThrow();
  });

  it('gives up a watch that is silent for too long', async () => {
    fake.answer = ({ open }) => open().events({ type: 'BOOKMARK', object: thing('', 1) });
    const { signal } = new AbortController();
    const events = await api.watch('/x?watch=true', { signal, silentMs: 500 });
    expect((await events.next()).value).toMatchObject({ type: 'BOOKMARK' });
    await expect(events.next()).rejects.toMatchObject({ code: 'TIMED_OUT' });
    fake.answer = () => {};
    const unanswered = api.watch('/x?watch=true', { signal, silentMs: 50 });
    await expect(unanswered).rejects.toMatchObject({ code: 'TIMED_OUT' });
  });

  it('finds out within its ping that nobody is there any more, though the connection stands', async () => {
    const sockets: Socket[] = [];
    const between = createServer((socket) => {
      const other = connect(Number(new URL(access.server).port), '127.0.0.1');
      sockets.push(socket, other);
      for (const end of [socket, other]) end.on('error', () => {});
      socket.pipe(other).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(between, 'listening');
    const port = (between.address() as AddressInfo).port;
    const far = new ApiServer({
      access: { ...access, server: `http://127.0.0.1:${port}` },
      times: { pingMs: 20, pongMs: 100 },
    });
    fake.answer = ({ open }) => open().events({ type: 'BOOKMARK', object: thing('', 1) });
    const { signal } = new AbortController();
    const events = await far.watch('/x?watch=true', { signal, silentMs: 600_000 });
    await events.next();
    const [near, other] = sockets;
    near?.unpipe();
    other?.unpipe();
    await expect(events.next()).rejects.toMatchObject({ code: 'TIMED_OUT', message: /connection is dead/u });
    await far.close();
    for (const socket of sockets) socket.destroy();
    between.close();
  });

  it('reads a list that comes in many pieces', async () => {
    const many = Array.from({ length: 2_000 }, (_, index) => ({
      ...thing(`thing-${index}`, index),
      data: 'é'.repeat(500),
    }));
    fake.answer = ({ json }) => json(listOf(1, many));
    expect(await api.get('/x')).toEqual(listOf(1, many));
  });
});
