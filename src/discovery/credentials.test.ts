import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { credentialsOf } from './credentials.ts';

const withValues = (...values: string[]): Metadata => {
  const metadata = new Metadata();
  for (const value of values) metadata.add('authorization', value);
  return metadata;
};

describe('credentialsOf', () => {
  it.each([
    [['Bearer abc.def'], 'abc.def'],
    [['bearer abc'], 'abc'],
    [[], undefined],
    [['abc'], undefined],
    [['Basic abc'], undefined],
    [['Bearer '], undefined],
    [['Bearer   abc'], 'abc'],
    [['Bearer a b'], undefined],
    [['Bearerabc'], undefined],
    [['Bearer a', 'Bearer b'], undefined],
  ])('reads %j as the bearer %j', (values, bearer) => {
    expect(credentialsOf(withValues(...values), '').bearer).toBe(bearer);
  });

  it.each([
    ['10.0.0.1:5000', '10.0.0.1'],
    ['::1:5000', '::1'],
    ['2001:db8::7:443', '2001:db8::7'],
    ['::ffff:10.0.0.1:5000', '10.0.0.1'],
    ['unknown', undefined],
    ['', undefined],
  ])('reads the peer %j as %j', (peer, address) => {
    expect(credentialsOf(new Metadata(), peer).peerAddress).toBe(address);
  });
});
