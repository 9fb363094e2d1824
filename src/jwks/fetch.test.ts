import { setGlobalProxyFromEnv } from 'node:http';
import { createServer as createTcp, type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Authority, memoryKeyStore } from '../authority/index.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { ecKey, IssuerServer, ok, setOf, status, World } from './testing/world.ts';

const keys = setOf(ecKey('one').publicKey);
let authority: Authority;
let tls: { cert: string; key: string };
let server: IssuerServer;
let world: World;

beforeAll(async () => {
  const trustDomain = TrustDomain.parse('example.org');
  const options = { trustDomain, nowMs: Date.now, svidTtlMs: 3_600_000 };
  authority = await Authority.open({ ...options, store: memoryKeyStore() });
  const svid = authority.issue(SpiffeId.workload(trustDomain, 'test', 'issuer'), { dnsNames: ['keys.test'] });
  tls = { cert: svid.chainPem, key: svid.privateKeyPem };
});
afterAll(() => authority.close());
beforeEach(async () => {
  server = await IssuerServer.start(ok(keys));
  world = new World();
});
afterEach(async () => {
  await world.keeper.close();
  await server.stop();
});

const toLoopback = { resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]) };
const failureOf = async (uri: string): Promise<string> => {
  await world.open();
  world.want(uri);
  return await world.failure();
};
const redirectsTo = (location: string): ReturnType<typeof ok> => status(302, { location });

describe('a fetch', () => {
  it('ends at its time, however slowly the server drips', async () => {
    server.answer = (_request, response) => {
      response.writeHead(200).write('{"keys":');
      world.advance(4_999);
      response.write('[');
      world.advance(1);
    };
    expect(await failureOf(server.uri())).toBe("The server's answer was not complete after 5000 ms.");
  });

  it('ends at its time while the name is resolved', async () => {
    world = await new World({ resolve: () => new Promise(() => undefined) }).open();
    world.want('https://keys.test/');
    world.advance(5_000);
    expect(await world.failure()).toContain('5000 ms');
  });

  it('ends at its time where the server says nothing at all', async () => {
    const silent = createTcp((socket) => {
      socket.on('error', () => undefined);
      world.advance(5_000);
    });
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    expect(await failureOf(`http://127.0.0.1:${(silent.address() as AddressInfo).port}/`)).toContain(
      '5000 ms',
    );
    silent.close();
  });

  it('ends when a body is longer than its bound, whatever its length was said to be', async () => {
    server.answer = (_request, response) => {
      const write = (): void => {
        while (!response.destroyed && response.write(' '.repeat(65_536)));
      };
      response.on('drain', write);
      write();
    };
    expect(await failureOf(server.uri())).toContain('longer than');
  });

  it('takes no answer that was cut off', async () => {
    server.answer = (_request, response) => {
      response.writeHead(200, { 'content-length': '1000' }).write(keys);
      setImmediate(() => response.destroy());
    };
    expect(await failureOf(server.uri())).toContain('ECONNRESET');
  });

  it.each([204, 304, 404, 401])('takes status %d as a failure', async (code) => {
    server.answer = status(code);
    expect(await failureOf(server.uri())).toContain(`answered ${code}`);
  });

  it('takes no compressed answer', async () => {
    server.answer = ok(keys, { 'content-encoding': 'gzip' });
    expect(await failureOf(server.uri())).toContain('compressed');
  });

  it('says that nobody listens', async () => {
    const uri = server.uri();
    await server.stop();
    expect(await failureOf(uri)).toContain('ECONNREFUSED');
    server = await IssuerServer.start(ok(keys));
  });

  it.each(['ftp://keys.test/', 'file:///etc/passwd', 'https://me:secret@keys.test/', 'keys', 'data:,{}'])(
    'refuses the URI %s',
    async (uri) => {
      const failure = await failureOf(uri);
      expect(failure).toContain('https or http URI');
      expect(failure).not.toContain('secret');
    },
  );

  it('asks no proxy', async () => {
    const proxy = await IssuerServer.start(status(418));
    const restore = setGlobalProxyFromEnv({ http_proxy: proxy.uri(''), https_proxy: proxy.uri('') });
    try {
      await world.open();
      world.want(server.uri());
      expect(await world.event()).toMatchObject({ what: 'fetched' });
      expect(proxy.requests).toEqual([]);
    } finally {
      restore();
      await proxy.stop();
    }
  });
});

describe('redirects', () => {
  it('are followed three times', async () => {
    server.answer = (request, response) => {
      const step = Number(request.url?.slice(1));
      (step === 3 ? ok(keys) : redirectsTo(`/${step + 1}`))(request, response);
    };
    await world.open();
    world.want(server.uri('/0'));
    expect(await world.event()).toMatchObject({ what: 'fetched' });
    expect(server.requests.map(({ path }) => path)).toEqual(['/0', '/1', '/2', '/3']);
  });

  it('end in a loop', async () => {
    server.answer = redirectsTo('/keys');
    expect(await failureOf(server.uri())).toBe('There were more than 3 redirects.');
    expect(server.requests).toHaveLength(4);
  });

  it.each([
    ['an address that is refused', 'http://169.254.169.254/latest/meta-data/', /linkLocal/u],
    ['another scheme', 'file:///etc/passwd', /https or http URI/u],
    ['user name and password', 'http://me:secret@keys.test/', /without user name/u],
    ['nothing', 'http://', /no place to go/u],
  ])('are not followed to %s', async (_what, location, expected) => {
    server.answer = redirectsTo(location);
    expect(await failureOf(server.uri())).toMatch(expected);
  });
});

describe('addresses', () => {
  it.each([
    ['http://169.254.169.254/', 'linkLocal'],
    ['http://[fe80::1]/', 'linkLocal'],
    ['http://[::ffff:a9fe:a9fe]/', 'linkLocal'],
    ['http://0x7f.1/', 'loopback'],
    ['http://localhost/', 'loopback'],
  ])('refuses %s', async (uri, expected) => {
    world = new World({ allowLoopback: false });
    expect(await failureOf(uri)).toContain(expected);
  });

  it('refuses a name that leads to a refused address, at each fetch anew', async () => {
    const answers = ['127.0.0.1', '169.254.169.254'];
    world = new World({
      resolve: () => Promise.resolve([{ address: answers.shift() ?? '', family: 4 }]),
    });
    await world.open();
    world.want(server.uri('/keys', 'keys.test'));
    expect(await world.event()).toMatchObject({ what: 'fetched' });
    world.advance(1_200_000);
    expect(await world.failure()).toContain('linkLocal');
    expect(server.requests).toHaveLength(1);
  });
});

describe('https', () => {
  let secure: IssuerServer;

  beforeEach(async () => {
    secure = await IssuerServer.start(ok(keys), tls);
  });
  afterEach(() => secure.stop());

  it('is taken from a server whose authority is trusted', async () => {
    world = await new World({ ...toLoopback, trustedCa: [authority.bundle.toPem()] }).open();
    world.want(secure.uri('/keys', 'keys.test'));
    expect(await world.event()).toMatchObject({ what: 'fetched', keys: 1 });
  });

  it('is refused from one whose authority is not, whatever the environment says', async () => {
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      world = new World(toLoopback);
      expect(await failureOf(secure.uri('/keys', 'keys.test'))).toMatch(/CERT|SELF_SIGNED|VERIFY/u);
    } finally {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
    }
  });

  it('is refused from one of another name', async () => {
    world = new World({ ...toLoopback, trustedCa: [authority.bundle.toPem()] });
    expect(await failureOf(secure.uri('/keys', 'other.test'))).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  it('does not become http by a redirect', async () => {
    secure.answer = redirectsTo(server.uri());
    world = new World({ ...toLoopback, trustedCa: [authority.bundle.toPem()] });
    expect(await failureOf(secure.uri('/keys', 'keys.test'))).toBe('A redirect leads from https to http.');
    expect(server.requests).toEqual([]);
  });
});
