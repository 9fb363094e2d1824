import { afterAll, beforeAll, describe, it } from 'vitest';
import { expectNoStorm, rideOut, startOutageWorld, type OutageWorld } from './outage.ts';

/** The API server is away for `OUTAGE_SECONDS`; an SVID is renewed several times in five minutes. */
const awayMs = Number(process.env['OUTAGE_SECONDS'] ?? 300) * 1_000;
const times = { awayMs, renewalMs: 90_000 };

let outage: OutageWorld;

beforeAll(async () => {
  outage = await startOutageWorld('2m');
}, 120_000);
afterAll(async () => await outage?.stop());

describe.each(['killed', 'frozen'] as const)(`the API server is %s for ${awayMs / 1_000} s`, (how) => {
  it('Envoys renew and lose no request; on its return there is no storm', async () => {
    expectNoStorm(await rideOut(outage, how, times));
  });
});
