import { once } from 'node:events';
import { connect as connectTcp, Server } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Authority, memoryKeyStore } from '../../src/authority/index.ts';
import { SpiffeId, TrustDomain } from '../../src/identity/index.ts';
import { openFrontDoor, type FrontDoor } from './front-door.ts';
import type { ServingCertificate, ServingContext } from './serving-certificate.ts';

const trustDomain = TrustDomain.parse('example.org');
const authority = await Authority.open({
  store: memoryKeyStore(),
  trustDomain,
  nowMs: Date.now,
  svidTtlMs: 3_600_000,
});

function context(): ServingContext {
  const id = SpiffeId.workload(trustDomain, 'countersign-system', 'control-plane');
  const { chainPem: cert, privateKeyPem: key } = authority.issue(id, { dnsNames: ['door.test'] });
  return { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', cert, key };
}

let replace: (next: ServingContext) => void;
let door: FrontDoor;
let failures: Error[];
let inside: TLSSocket[];
let outside: TLSSocket[];
async function open(): Promise<FrontDoor> {
  const certificate: ServingCertificate = {
    current: context(),
    onContext: (listener) => {
      replace = listener;
    },
    clockMoved: () => {},
    close: () => {},
  };
  return await openFrontDoor({
    listen: { host: '127.0.0.1', port: 0 },
    certificate,
    onConnection: (socket) => {
      inside.push(socket);
      socket.resume();
    },
    onError: (error) => failures.push(error),
  });
}

beforeEach(async () => {
  failures = [];
  inside = [];
  outside = [];
  door = await open();
});
afterEach(async () => {
  door.close();
  for (const socket of outside) socket.destroy();
  await door.emptied(1_000);
});

function come(options: ConnectionOptions = {}): TLSSocket {
  const socket = connect({
    host: '127.0.0.1',
    port: door.port,
    servername: 'door.test',
    ca: authority.bundle.toPem(),
    ALPNProtocols: ['h2'],
    ...options,
  });
  outside.push(socket);
  return socket;
}

async function enter(): Promise<TLSSocket> {
  const socket = come();
  await once(socket, 'secureConnect');
  return socket;
}

/** @returns why it ended */
async function ending(socket: TLSSocket): Promise<string> {
  return await new Promise((resolve) => {
    socket.once('error', ({ message }) => resolve(message));
    socket.once('close', () => resolve('closed'));
    socket.resume();
  });
}

describe('the front door', () => {
  it('lets in whoever speaks h2 over TLS 1.3, many at once', async () => {
    await Promise.all(Array.from({ length: 100 }, enter));
    await expect.poll(() => inside.length).toBe(100);
  });

  it('lets in nobody who speaks another protocol, an older TLS, or none', async () => {
    const refused = Promise.all([
      ending(come({ ALPNProtocols: ['http/1.1'] })),
      ending(come({ maxVersion: 'TLSv1.2' })),
    ]);
    const silent = come({ ALPNProtocols: [] });
    expect(await ending(silent)).toBe('closed');
    expect(await refused).toEqual([
      expect.stringMatching(/alert no application protocol/u),
      expect.stringMatching(/alert protocol version/u),
    ]);
    const plain = connectTcp(door.port, '127.0.0.1');
    plain.on('error', () => plain.destroy());
    plain.write('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) => plain.once('close', resolve));
    expect(inside).toEqual([]);
  });

  it('shows whoever comes later the certificate that was replaced', async () => {
    const first = (await enter()).getPeerCertificate().serialNumber;
    replace(context());
    const second = (await enter()).getPeerCertificate().serialNumber;
    expect(second).not.toBe(first);
  });

  it('once closed lets in nobody, and waits for those inside', async () => {
    const socket = await enter();
    door.close();
    expect(await ending(come())).toMatch(/ECONNREFUSED/u);
    const emptied = door.emptied(60_000);
    expect(await Promise.race([emptied, Promise.resolve('not yet')])).toBe('not yet');
    socket.end();
    await emptied;
  });

  it('cuts whoever has not left in time, and whoever never shook hands', async () => {
    const socket = await enter();
    const silent = connectTcp(door.port, '127.0.0.1');
    await once(silent, 'connect');
    const cut = [ending(socket), new Promise((resolve) => silent.once('close', resolve))];
    silent.on('error', () => silent.destroy());
    silent.resume();
    door.close();
    await door.emptied(10);
    await Promise.all(cut);
  });

  it('lets in nobody who is shaking hands when it closes', async () => {
    const begun = connectTcp(door.port, '127.0.0.1');
    await once(begun, 'connect');
    await enter();
    await expect.poll(() => inside.length).toBe(1);
    door.close();
    expect(await ending(come({ socket: begun }))).toBe('closed');
    expect(inside).toHaveLength(1);
  });

  it('goes on where the system cannot accept a connection', async () => {
    const listen = vi.spyOn(Server.prototype, 'listen');
    const other = await open();
    const [listener] = listen.mock.contexts;
    listen.mockRestore();
    const failure = new Error('accept ENOMEM');
    (listener as Server).emit('error', failure);
    expect(failures).toEqual([failure]);
    const socket = come({ port: other.port });
    await once(socket, 'secureConnect');
    socket.destroy();
    other.close();
  });

  it('says which flag to change where the port is taken', async () => {
    await expect(
      openFrontDoor({
        listen: { host: '127.0.0.1', port: door.port },
        certificate: { current: context(), onContext: () => {}, clockMoved: () => {}, close: () => {} },
        onConnection: () => {},
        onError: () => {},
      }),
    ).rejects.toThrow(/^--listen 127\.0\.0\.1:\d+ is in use by another process/u);
  });
});
