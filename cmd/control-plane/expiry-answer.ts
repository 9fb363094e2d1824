import type { Link } from '../../src/expiry/index.ts';
import type { CheckExpiryResponse } from '../../src/operator/index.ts';

/** For the operator API. */
export function expiryAnswer(links: readonly Link[], nowMs: number): CheckExpiryResponse {
  return {
    now: new Date(nowMs).toISOString(),
    links: links.map(({ endsMs, ...link }) => ({
      ...link,
      ends: endsMs === undefined ? '' : new Date(endsMs).toISOString(),
    })),
  };
}
