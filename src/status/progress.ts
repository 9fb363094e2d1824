import type { Progress, ProxyState } from './types.ts';

/** How far a policy has come among the proxies of the workloads that it selects. Those without a proxy do not count. */
export function progressOf(workloads: Iterable<string>, states: ReadonlyMap<string, ProxyState>): Progress {
  let proxies = 0;
  let current = 0;
  let rejected: Progress['rejected'];
  for (const proxy of workloads) {
    const state = states.get(proxy);
    if (state === undefined) continue;
    proxies += 1;
    if (state.kind === 'current') current += 1;
    if (state.kind === 'rejected') rejected ??= { proxy, message: state.message };
  }
  return { proxies, current, ...(rejected && { rejected }) };
}

/** Of all replicas together: a proxy is connected to one of them. */
export function together(parts: Iterable<Progress>): Progress {
  let [proxies, current] = [0, 0];
  let rejected: Progress['rejected'];
  for (const part of parts) {
    proxies += part.proxies;
    current += part.current;
    rejected ??= part.rejected;
  }
  return { proxies, current, ...(rejected && { rejected }) };
}
