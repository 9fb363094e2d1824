import { describe, expect, it } from 'vitest';
import { allowedAddresses } from './addresses.ts';

const addressesOf = async (
  allowLoopback: boolean,
  ...found: readonly string[]
): Promise<readonly string[]> => {
  const resolve = (): Promise<{ address: string; family: number }[]> =>
    Promise.resolve(found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
  return (await allowedAddresses('keys.test', { resolve, allowLoopback })).map(({ address }) => address);
};
const refused = expect.objectContaining({ code: 'address-refused' });

describe('allowedAddresses', () => {
  it.each([
    '169.254.169.254',
    '::ffff:169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b::7f00:1',
    '64:ff9b:1::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '2001::1',
    '::ffff:0:a9fe:a9fe',
    '::a9fe:a9fe',
    'fe80::1',
    'fe80::1%eth0',
    'fd00:ec2::254',
    'fd20:ce::254',
    '100.100.100.200',
    '168.63.129.16',
    '0.0.0.0',
    '0.1.2.3',
    '::',
    '224.0.0.1',
    'ff02::1',
    '255.255.255.255',
    '240.0.0.1',
    'no address',
  ])('refuses %s, by a name and as it is, also where loopback is allowed', async (address) => {
    await expect(addressesOf(true, address)).rejects.toEqual(refused);
    if (address === 'no address') return;
    const resolve = (): never => expect.fail('an address is not resolved');
    await expect(allowedAddresses(address, { resolve, allowLoopback: true })).rejects.toEqual(refused);
  });

  it('allows loopback only where that is said', async () => {
    for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1']) {
      await expect(addressesOf(false, address)).rejects.toEqual(refused);
      expect(await addressesOf(true, address)).toEqual([address]);
    }
  });

  it('allows the networks that pods are in, and the internet', async () => {
    const addresses = [
      '10.0.0.1',
      '172.16.0.1',
      '192.168.0.1',
      '100.64.0.1',
      'fd00::1',
      '1.1.1.1',
      '2606::1',
    ];
    expect(await addressesOf(false, ...addresses, '64:ff9b::101:101')).toEqual([
      ...addresses,
      '64:ff9b::101:101',
    ]);
  });

  it('keeps the good addresses of a name that has bad ones too', async () => {
    expect(await addressesOf(false, '169.254.169.254', '10.0.0.1', '127.0.0.1')).toEqual(['10.0.0.1']);
  });

  it('refuses a name without addresses', async () => {
    await expect(addressesOf(false)).rejects.toMatchObject({ code: 'unreachable' });
  });
});
