import type { StreamStatus } from '../discovery/index.ts';
import type { ProxyState } from './types.ts';

/** What a proxy should run under this name now; undefined: nothing that it could be given. */
export type Expected = (client: string, typeUrl: string, name: string) => string | undefined;

const CURRENT: ProxyState = { kind: 'current' };
const BEHIND: ProxyState = { kind: 'behind' };

/**
 * How every connected proxy stands to what it asked for of one type, by client. One that asked for nothing of the
 * type is not in the map: it enforces nothing.
 *
 * What counts is what should be sent now, not what was last sent: between a change and its push nobody is current.
 */
export function proxyStates(
  streams: readonly StreamStatus[],
  typeUrl: string,
  expected: Expected,
): ReadonlyMap<string, ProxyState> {
  const states = new Map<string, ProxyState>();
  for (const { client, types } of streams) {
    for (const type of types) {
      if (type.typeUrl !== typeUrl) continue;
      const resources = new Map(type.resources.map((resource) => [resource.name, resource]));
      for (const name of type.names) {
        const wanted = expected(client, typeUrl, name);
        if (wanted === undefined) continue;
        const held = resources.get(name);
        const runs = held?.running === wanted;
        const refused = held?.version === wanted && held.rejection !== undefined;
        const state: ProxyState = runs
          ? CURRENT
          : refused
            ? { kind: 'rejected', message: held.rejection }
            : BEHIND;
        states.set(client, worse(states.get(client), state));
      }
    }
  }
  return states;
}

const severity = { current: 0, behind: 1, rejected: 2 } as const;

function worse(known: ProxyState | undefined, found: ProxyState): ProxyState {
  return known !== undefined && severity[known.kind] >= severity[found.kind] ? known : found;
}
