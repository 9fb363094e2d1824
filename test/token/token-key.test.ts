import { verify } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TokenError, TokenKey } from '../../src/pkcs11/index.ts';
import { noSoftHsm, SoftToken } from '../harness/softhsm.ts';

/** Why they are skipped is said by test/setup/install-softhsm.sh. */
describe.skipIf(noSoftHsm)('a key in a token', () => {
  let token: SoftToken;
  beforeAll(() => {
    token = new SoftToken();
    // What the process of a token inherits.
    Object.assign(process.env, token.env);
    for (const kind of ['P-256', 'P-384', 'RSA-2048'] as const) token.makeKey(kind, kind);
    token.makeKey('exposed', 'P-256', 'extractable');
  }, 60_000);
  afterAll(() => token.remove());

  async function refusalOf(asked: Promise<unknown>): Promise<TokenError> {
    const error: unknown = await asked.catch((cause: unknown) => cause);
    if (error instanceof TokenError) return error;
    throw new Error('it was not refused', { cause: error });
  }

  async function refusal(uri: string): Promise<TokenError> {
    return await refusalOf(TokenKey.open({ uri }));
  }

  it.each(['P-256', 'P-384', 'RSA-2048'] as const)('signs, and never leaves it: %s', async (kind) => {
    const key = await TokenKey.open({ uri: token.uri(kind) });
    try {
      const hash = kind === 'P-384' ? 'sha384' : 'sha256';
      for (let round = 0; round < 20; round += 1) {
        const data = Buffer.from(`text ${round}`);
        expect(verify(hash, data, key.publicKey, await key.sign(data))).toBe(true);
      }
      expect(key.where).toContain('in the token "mesh"');
    } finally {
      key.close();
    }
  });

  it('is refused where it could leave the token', async () => {
    const error = await refusal(token.uri('exposed'));
    expect([error.code, error.message]).toEqual(['key-exposed', expect.stringMatching(/CKA_EXTRACTABLE/u)]);
  });

  it('is refused with a wrong PIN, a PIN that others may read, and none', async () => {
    const wrong = join(token.folder, 'wrong');
    writeFileSync(wrong, '0000-0000', { mode: 0o600 });
    const inexact = await refusal(token.uri('P-256', wrong));
    expect([inexact.code, inexact.message]).toEqual([
      'pin-refused',
      expect.stringMatching(/PIN is not right/u),
    ]);
    chmodSync(wrong, 0o644);
    expect((await refusal(token.uri('P-256', wrong))).message).toMatch(/mode 0644.*chmod/u);
    expect((await refusal(token.uri('P-256', '/nowhere'))).message).toMatch(/cannot be read \(ENOENT\)/u);
    const without = token.uri('P-256').replace(/&pin-source=.*/u, '');
    expect((await refusal(without)).code).toBe('key-missing');
  });

  it('is refused where key, token or module are not there', async () => {
    expect((await refusal(token.uri('nobody'))).message).toMatch(/There are 0 private objects/u);
    const noToken = await refusal(token.uri('P-256').replace('token=mesh', 'token=other'));
    expect([noToken.code, noToken.message]).toEqual([
      'token-missing',
      expect.stringMatching(/It has: .*"mesh"/u),
    ]);
    const noModule = await refusal(token.uri('P-256').replace(token.module, '/nowhere.so'));
    expect(noModule.code).toBe('module-unusable');
  });

  it('is waited for within bounds, and asked anew after that', async () => {
    const key = await TokenKey.open({ uri: token.uri('P-256') });
    token.pull();
    await refusalOf(key.check());
    await expect(key.sign(Buffer.from('x'))).rejects.toMatchObject({ code: 'token-missing' });
    token.putBack();
    const data = Buffer.from('y');
    expect(verify('sha256', data, key.publicKey, await key.sign(data))).toBe(true);
    key.close();
    const slow = TokenKey.open({ uri: token.uri('P-256'), timeoutMs: 1 });
    await expect(slow).rejects.toMatchObject({ code: 'token-slow' });
  });

  it('is not opened again once it is closed, also where that was under way', async () => {
    const key = await TokenKey.open({ uri: token.uri('P-256') });
    token.pull();
    await refusalOf(key.check());
    token.putBack();
    const underWay = key.check();
    await setImmediate();
    key.close();
    for (const asked of [underWay, key.check(), key.sign(Buffer.from('x'))]) {
      await expect(asked).rejects.toThrow(/is closed/u);
    }
  });

  it('is not asked again with a PIN that was refused, until its file changes', async () => {
    const pinFile = join(token.folder, 'changing');
    writeFileSync(pinFile, token.pin, { mode: 0o600 });
    const key = await TokenKey.open({ uri: token.uri('P-256', pinFile) });
    try {
      token.pull();
      await refusalOf(key.check());
      token.putBack();
      writeFileSync(pinFile, '0000-0000');
      const refused = await refusalOf(key.check());
      expect([refused.code, refused.message]).toEqual([
        'pin-refused',
        expect.stringMatching(/PIN is not right.*until the file \S+changing has changed/u),
      ]);
      // The very same: the token was not asked.
      expect(await refusalOf(key.check())).toBe(refused);
      expect(await refusalOf(key.sign(Buffer.from('x')))).toBe(refused);
      expect(await refusalOf(key.renewed())).toBe(refused);
      writeFileSync(pinFile, token.pin);
      await key.check();
    } finally {
      key.close();
    }
  });
});
