/** The demo's shop: who is there, how they reach each other, and what is expected of each call. */

export interface Member {
  readonly name: string;
  readonly pod: string;
  readonly ip: string;
  readonly id: string;
  /** Names of those whom it tries to call. */
  readonly calls: readonly string[];
}

const member = (namespace: string, name: string, last: number, calls: readonly string[]): Member => ({
  name,
  pod: `${namespace}/${name}`,
  ip: `127.77.0.${last}`,
  id: `spiffe://cluster.local/ns/${namespace}/sa/${name}`,
  calls,
});

export const members: readonly Member[] = [
  member('shop', 'web', 11, ['cart', 'payments']),
  member('shop', 'cart', 12, ['web', 'payments']),
  member('shop', 'payments', 13, ['web']),
  member('elsewhere', 'intruder', 66, ['web', 'cart', 'payments']),
];

export function memberNamed(name: string): Member {
  const found = members.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`there is no ${name} in the shop`);
  return found;
}

/** Where a member's sidecar takes calls for another: on its own address, a port for each. */
export function outboundPort(caller: Member, callee: string): number {
  return 9_001 + caller.calls.indexOf(callee);
}

export interface Call {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly path: string;
  readonly expected: 200 | 403;
  /** The rule that must have decided; undefined: no rule did, so it is denied. */
  readonly rule: string | undefined;
}

const call = (line: string, expected: 200 | 403, rule?: string): Call => {
  const [from = '', to = '', method = '', path = ''] = line.split(' ');
  return { from, to, method, path, expected, rule };
};

const rule = (namespace: string, policy: string): string => `ns[${namespace}]-policy[${policy}]-rule[0]`;

export const calls: readonly Call[] = [
  call('cart web GET /', 200, rule('shop', 'web-for-the-shop')),
  call('payments web GET /health', 200, rule('shop', 'web-for-the-shop')),
  call('payments web GET /admin', 403),
  call('intruder web GET /', 403),
  call('web cart GET /items', 200, rule('shop', 'cart-from-web')),
  call('web cart POST /items/42', 200, rule('shop', 'cart-from-web')),
  call('web cart DELETE /items/42', 403),
  call('web cart GET /items/../admin', 403),
  call('intruder cart GET /items', 403),
  call('cart payments POST /charge/42', 200, rule('shop', 'payments-from-cart')),
  call('cart payments POST /charge/42/refund', 403),
  call('cart payments POST /admin/refund', 403, rule('shop', 'payments-no-admin')),
  call('web payments POST /charge/42', 403),
  call('intruder payments POST /charge/42', 403),
];
