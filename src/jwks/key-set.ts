import { readKeySet, type KeySet } from '../keyset/index.ts';
import { JwksError } from './errors.ts';

/**
 * The usable public keys of an answer.
 * @throws JwksError `malformed`, `no-usable-key`
 */
export function parseKeySet(bytes: Uint8Array): KeySet {
  const read = readKeySet(textOf(bytes));
  if (read.ok) return read;
  throw new JwksError(read.code, `The answer ${read.fault}.`);
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new JwksError('malformed', 'The answer is no UTF-8: a JWK Set (RFC 7517) is expected.', { cause });
  }
}
