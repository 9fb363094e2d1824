import { selects } from '../select.ts';
import type { MeshSettings, Request, Target } from '../types.ts';
import type { PeerAuthentication, PeerMode, PeerModes } from './types.ts';

/** Where nobody says anything. */
const DEFAULT: PeerMode = 'STRICT';

/**
 * How peers have to come to a workload: as its own document says, else its namespace's, else the mesh's; of several
 * of one reach the oldest, then the first by name.
 *
 * @param policies all that could apply: those of the workload's namespace and of the root namespace
 */
export function resolvePeerModes(
  policies: readonly PeerAuthentication[],
  target: Target,
  settings: Pick<MeshSettings, 'rootNamespace'>,
): PeerModes {
  const selecting = policies.filter((policy) => selects(policy, target, settings));
  const oldest = (reach: PeerReach): PeerAuthentication | undefined =>
    selecting.filter((policy) => reachOf(policy, settings) === reach).toSorted(byAge)[0];
  const own = oldest('workload');
  const chain = [oldest('mesh'), oldest('namespace'), own].flatMap((policy) => policy ?? []);
  const decider = chain.findLast(({ mode }) => mode !== undefined);
  const mode = decider?.mode ?? DEFAULT;
  const ports = [...(own?.ports ?? [])].flatMap(([port, other]): [number, PeerMode][] =>
    other === undefined || other === mode ? [] : [[port, other]],
  );
  const said = chain.filter((policy) => policy === decider || (policy === own && ports.length > 0));
  return {
    mode,
    ports: new Map(ports.toSorted(([a], [b]) => a - b)),
    from: said.map(({ namespace, name }) => `${namespace}/${name}`),
  };
}

export type PeerReach = 'mesh' | 'namespace' | 'workload';

/** For whom a document speaks; undefined: for nobody, being one of the root namespace with a selector. */
export function reachOf(
  { namespace, selector }: PeerAuthentication,
  { rootNamespace }: Pick<MeshSettings, 'rootNamespace'>,
): PeerReach | undefined {
  const bound = Object.keys(selector).length > 0;
  if (namespace === rootNamespace) return bound ? undefined : 'mesh';
  return bound ? 'workload' : 'namespace';
}

/** The oldest first; whoever does not say its age comes after all that do. */
export function byAge(a: PeerAuthentication, b: PeerAuthentication): number {
  const [ageA, ageB] = [a.createdAtMs ?? Infinity, b.createdAtMs ?? Infinity];
  if (ageA !== ageB) return ageA - ageB;
  return a.name < b.name ? -1 : Number(a.name > b.name);
}

/** Why a caller does not even reach the rules, and what to do, in words; undefined: it does. Of an unknown port, any that would refuse it does. */
export function peerRefusal(
  { mode, ports, from }: PeerModes,
  { principal, destinationPort }: Pick<Request, 'principal' | 'destinationPort'>,
): string | undefined {
  const known = destinationPort === undefined ? undefined : (ports.get(destinationPort) ?? mode);
  const asked: readonly (readonly [number | undefined, PeerMode])[] =
    known === undefined ? [[undefined, mode], ...ports] : [[destinationPort, known]];
  const refusing: PeerMode = principal === undefined ? 'STRICT' : 'DISABLE';
  const found = asked.find(([, each]) => each === refusing);
  if (found === undefined) return undefined;
  const [port] = found;
  const by =
    from.length === 0
      ? 'the default, no PeerAuthentication says otherwise'
      : `PeerAuthentication ${from.join(' and ')}`;
  const where = port === undefined ? 'the workload' : `port ${port} of the workload`;
  return principal === undefined
    ? `the caller comes without mTLS, and ${where} takes mTLS alone (STRICT, ${by}): let it call through its sidecar, or allow plaintext by a PeerAuthentication`
    : `the caller comes with mTLS, and ${where} takes plaintext alone (DISABLE, ${by}): set STRICT or PERMISSIVE there`;
}
