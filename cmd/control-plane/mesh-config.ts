import { parseMeshConfig, type Issue, type MeshSettings } from '../../src/policy/index.ts';
import { readMapping } from '../../src/sources/manifests/index.ts';

/** What `--mesh-config` and flags can both say, by the flag's name. */
const flagOf = {
  trustDomain: '--trust-domain',
  rootNamespace: '--root-namespace',
  defaultAction: '--default-action',
} as const;

type Stated = Pick<MeshSettings, keyof typeof flagOf>;

/** What was said by flags. */
export interface SettingsFlags {
  /** Of the command line. */
  readonly stated: Partial<Stated>;
  /** What holds where nobody says anything. */
  readonly preset: Stated;
}

/** One version of the mesh's settings, or why it cannot be one. */
export type ReadSettings =
  | { readonly settings: MeshSettings; readonly issues: readonly Issue[] }
  | { readonly settings: undefined; readonly issues: readonly Issue[] };

/** The settings that flags and the text of a configuration file make together. A contradiction is an error. */
export function settingsOf(text: string, { stated, preset }: SettingsFlags): ReadSettings {
  const document = readMapping(text);
  if (!document.ok) return { settings: undefined, issues: [error('', document.message)] };
  const parsed = parseMeshConfig(document.value);
  if (!parsed.ok) return { settings: undefined, issues: parsed.issues };
  const { settings: configured } = parsed;
  const contradictions = settingNames.flatMap((name) => {
    const [there, here] = [configured[name], stated[name]];
    if (there === undefined || here === undefined || there === here) return [];
    const message = `is ${JSON.stringify(there)} here and ${JSON.stringify(here)} in ${flagOf[name]}: say the same in both, or leave one out`;
    return [error(name, message)];
  });
  if (contradictions.length > 0)
    return { settings: undefined, issues: [...parsed.issues, ...contradictions] };
  const settings: MeshSettings = { ...preset, ...configured, ...stated };
  const own = (settings.federation ?? []).findIndex(
    ({ trustDomain }) => trustDomain === settings.trustDomain,
  );
  if (own < 0) return { settings, issues: parsed.issues };
  const message = `${settings.trustDomain} is this mesh's own trust domain: its bundle comes from no endpoint`;
  const issue = error(`federation[${own}].trustDomain`, message);
  return { settings: undefined, issues: [...parsed.issues, issue] };
}

/**
 * Which settings a running control plane takes over, and why it may not: identities and the mesh's indexes were
 * made with the others.
 */
export function refusedChanges(running: MeshSettings, next: MeshSettings): Issue[] {
  return (['trustDomain', 'rootNamespace'] as const).flatMap((name) =>
    running[name] === next[name]
      ? []
      : [
          error(
            name,
            `cannot change while the control plane runs, from ${running[name]} to ${next[name]}: restart it`,
          ),
        ],
  );
}

const settingNames = ['trustDomain', 'rootNamespace', 'defaultAction'] as const;

function error(path: string, message: string): Issue {
  return { severity: 'error', path, message };
}
