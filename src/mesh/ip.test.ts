import { describe, expect, it } from 'vitest';
import { canonicalIp } from './index.ts';

describe('canonicalIp', () => {
  it.each([
    ['10.0.0.7', '10.0.0.7'],
    ['FD00:0:0::7', 'fd00::7'],
    ['::ffff:10.0.0.7', '10.0.0.7'],
    ['::ffff:a00:7', '10.0.0.7'],
    ['fe80::1%eth0', 'fe80::1'],
  ])('%s is %s', (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
  });

  it.each([
    '',
    '10.0.0',
    '010.0.0.7',
    '167772167',
    '0x0a000007',
    '10.0.0.7/32',
    '10.0.0.256',
    'localhost',
    '[::1]',
  ])('%j is no address', (text) => {
    expect(canonicalIp(text)).toBeUndefined();
  });
});
