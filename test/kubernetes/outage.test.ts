import { afterAll, beforeAll, describe, it } from 'vitest';
import { expectNoStorm, rideOut, startOutageWorld, type OutageWorld } from './outage.ts';

/**
 * SVIDs of 90 s, which are renewed within 54 s, make minutes of an outage out of one: each Envoy renews in it, and
 * again from a control plane that has never seen the API server. `outage.deep.ts` takes the minutes themselves.
 */
const svidTtl = '90s';
const times = { awayMs: 60_000, renewalMs: 60_000 };

let outage: OutageWorld;

beforeAll(async () => {
  outage = await startOutageWorld(svidTtl);
});
afterAll(async () => await outage?.stop());

describe.each(['killed', 'frozen'] as const)('the API server is %s', (how) => {
  it('Envoys renew and lose no request; on its return there is no storm', { timeout: 300_000 }, async () => {
    expectNoStorm(await rideOut(outage, how, times));
  });
});
