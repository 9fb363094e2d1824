import type { ClaimedWorkload, Factor, Refusal } from './types.ts';

const PUBLIC_MESSAGES: Readonly<Record<Exclude<Factor, 'quarantine'>, string>> = {
  token: 'not attested: the token was refused',
  pod: 'not attested: the pod was refused',
  'service-account': 'not attested: the service account was refused',
  node: 'not attested: the node was refused',
  'peer-address': 'not attested: the peer address was refused',
  'token-review': 'not attested: the token was refused by the API server',
  load: 'too many callers at once; try again',
};

/** The token itself failed: whoever sent it has proven nothing. */
export function refuseToken(detail: string, claimed?: ClaimedWorkload): Refusal {
  return refuse('token', 'UNAUTHENTICATED', detail, claimed);
}

/** The token is genuine, and another factor failed. */
export function refuseFactor(
  factor: Exclude<Factor, 'token' | 'token-review' | 'load' | 'quarantine'>,
  detail: string,
  claimed?: ClaimedWorkload,
): Refusal {
  return refuse(factor, 'PERMISSION_DENIED', detail, claimed);
}

/** The API server does not take the token for what it says it is. */
export function refuseReviewed(detail: string, claimed: ClaimedWorkload): Refusal {
  return refuse('token-review', 'UNAUTHENTICATED', detail, claimed);
}

/** Nothing was found against the token, and nobody could be asked who would know. */
export function refuseUnreviewed(detail: string, claimed: ClaimedWorkload): Refusal {
  return {
    ...refuse('token-review', 'UNAVAILABLE', detail, claimed),
    publicMessage: 'not attested: the API server cannot be asked now',
  };
}

/** Nothing was looked at. */
export function refuseBusy(retryAfterMs: number): Refusal {
  const detail = 'too many callers are being proven: raise --max-concurrent-attestations, or add replicas';
  return { ...refuse('load', 'RESOURCE_EXHAUSTED', detail, undefined), retryAfterMs };
}

function refuse(
  factor: Exclude<Factor, 'quarantine'>,
  code: Refusal['code'],
  detail: string,
  claimed: ClaimedWorkload | undefined,
): Refusal {
  const refusal = { factor, code, detail, publicMessage: PUBLIC_MESSAGES[factor] };
  return claimed === undefined ? refusal : { ...refusal, claimed };
}
