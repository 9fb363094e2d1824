import { expect, it } from 'vitest';
import { observerOf } from './issuer-keys.ts';
import type { Witnesses } from './observers.ts';

it('shows URIs of keys without their user and query, which may hold a secret', () => {
  const said: unknown[] = [];
  const say = (...what: unknown[]): void => {
    said.push(what);
  };
  const witnesses = {
    log: { info: say, warn: say, error: say },
    audit: { record: say },
    metrics: { jwksLastGood: { set: say }, jwksFailures: { inc: say } },
  } as unknown as Witnesses;
  const observer = observerOf(witnesses);
  for (const uri of ['https://me:secret@idp.example:8443/keys?apikey=secret#secret', 'secret']) {
    observer.fetched(uri, { keys: 1, changed: true, secrets: ['keys[0]'], unused: [] });
    observer.failed(uri, 'Status 500', { lastGoodAtMs: undefined, nextTryMs: 0 });
  }
  const text = JSON.stringify(said);
  expect(said).toHaveLength(14);
  expect(text).toContain('"uri":"https://idp.example:8443/keys"');
  expect(text).not.toContain('secret@');
  expect(text).not.toMatch(/=secret|#secret|"secret"/u);
});
