import type { ClaimedWorkload, Factor, Refusal } from './types.ts';

const PUBLIC_MESSAGES: Readonly<Record<Factor, string>> = {
  token: 'not attested: the token was refused',
  pod: 'not attested: the pod was refused',
  'service-account': 'not attested: the service account was refused',
  node: 'not attested: the node was refused',
  'peer-address': 'not attested: the peer address was refused',
};

/** The token itself failed: whoever sent it has proven nothing. */
export function refuseToken(detail: string, claimed?: ClaimedWorkload): Refusal {
  return refuse('token', 'UNAUTHENTICATED', detail, claimed);
}

/** The token is genuine, and another factor failed. */
export function refuseFactor(
  factor: Exclude<Factor, 'token'>,
  detail: string,
  claimed?: ClaimedWorkload,
): Refusal {
  return refuse(factor, 'PERMISSION_DENIED', detail, claimed);
}

function refuse(
  factor: Factor,
  code: Refusal['code'],
  detail: string,
  claimed: ClaimedWorkload | undefined,
): Refusal {
  const refusal = { factor, code, detail, publicMessage: PUBLIC_MESSAGES[factor] };
  return claimed === undefined ? refusal : { ...refusal, claimed };
}
