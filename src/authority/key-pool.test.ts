import { createPrivateKey, createPublicKey } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { waitFor } from '../../test/harness/wait.ts';
import { KeyPool } from './key-pool.ts';
import { privateKeyPem, publicKeyInfo } from './keys.ts';

let pool: KeyPool;
afterEach(() => pool.close());

const filled = async (size: number): Promise<void> => {
  await waitFor('the pool to fill', () => (pool.ready === size ? true : undefined), { everyMs: 5 });
};

it('holds as many as it may, and fills up again', async () => {
  pool = new KeyPool(5);
  await filled(5);
  pool.take();
  pool.take();
  expect(pool.ready).toBe(3);
  await filled(5);
});

it('hands out each key once, also more than it holds, and each is whole', async () => {
  pool = new KeyPool(3);
  await filled(3);
  const taken = Array.from({ length: 8 }, () => pool.take());
  expect(new Set(taken.map(({ secret }) => secret.toString('hex'))).size).toBe(8);
  for (const keys of taken) {
    const privateKey = createPrivateKey(privateKeyPem(keys));
    const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
    expect(publicKeyInfo(keys.point)).toEqual(der);
  }
});

it('of size 0 makes each when it is asked for', () => {
  pool = new KeyPool(0);
  expect(pool.take().point).toHaveLength(65);
  expect(pool.ready).toBe(0);
});

it('keeps none once it is closed', async () => {
  pool = new KeyPool(2);
  await filled(2);
  pool.close();
  expect(pool.ready).toBe(0);
  expect(pool.take().secret).toHaveLength(32);
});
