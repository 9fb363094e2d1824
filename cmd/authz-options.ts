import { InvalidArgumentError, Option, type Command } from 'commander';
import { TrustDomain } from '../src/identity/index.ts';
import type { MeshSettings } from '../src/policy/index.ts';
import { readAuthzInput, renderFinding, type AuthzInput } from './authz-input.ts';
import { meshConfigFlag, readMeshConfig } from './mesh-config.ts';

/** What all authz commands take. */
export interface AuthzFlags {
  readonly file: readonly string[];
  /** Further settings of the mesh; flags go before them. */
  readonly meshConfig?: string;
  readonly trustDomain?: TrustDomain;
  readonly rootNamespace?: string;
  readonly defaultAction?: 'allow' | 'deny';
  readonly output: 'table' | 'json' | 'yaml';
}

export function addAuthzOptions(
  command: Command,
  output: AuthzFlags['output'],
  formats: readonly string[] = ['table', 'json', 'yaml'],
): Command {
  return command
    .requiredOption('-f, --file <path...>', 'manifests: files, directories, or - for standard input')
    .option(...meshConfigFlag)
    .option(
      '--trust-domain <name>',
      "the mesh's, where its configuration names none (default: cluster.local)",
      parseTrustDomain,
    )
    .option('--root-namespace <name>', 'its policies reach every namespace (default: countersign-system)')
    .addOption(
      new Option(
        '--default-action <action>',
        'where no ALLOW policy selects a workload (default: deny)',
      ).choices(['deny', 'allow']),
    )
    .addOption(new Option('-o, --output <format>').choices(formats).default(output));
}

/** The manifests behind `-f`, findings on stderr. An error in any of them means that nothing can be told. */
export async function readPolicies(
  flags: Pick<AuthzFlags, 'file'>,
  { rootNamespace }: Pick<MeshSettings, 'rootNamespace'>,
): Promise<AuthzInput> {
  const input = await readAuthzInput(flags.file, {
    rootNamespace,
    nowMs: Date.now,
    stdin: process.stdin,
  });
  for (const finding of input.findings) process.stderr.write(`${renderFinding(finding)}\n`);
  if (input.failed) throw new Error('the manifests above have errors: correct them, nothing was decided');
  return input;
}

type SettingsFlags = Omit<AuthzFlags, 'file' | 'output'>;

/** What `--mesh-config` says, and nothing else. */
export async function configuredSettings({ meshConfig }: SettingsFlags): Promise<Partial<MeshSettings>> {
  return meshConfig === undefined ? {} : await readMeshConfig(meshConfig);
}

export async function settingsOf(flags: SettingsFlags): Promise<MeshSettings> {
  return settingsFrom(await configuredSettings(flags), flags);
}

/** @throws Error the mesh's configuration and the flag name different trust domains */
export function settingsFrom(configured: Partial<MeshSettings>, flags: SettingsFlags): MeshSettings {
  const stated = flags.trustDomain?.name;
  const trustDomain = configured.trustDomain ?? stated ?? 'cluster.local';
  if (stated !== undefined && stated !== trustDomain) {
    throw new Error(
      `trustDomain is "${trustDomain}" in ${flags.meshConfig} and "${stated}" in --trust-domain: leave out one of the two`,
    );
  }
  return {
    rootNamespace: 'countersign-system',
    defaultAction: 'deny',
    ...configured,
    trustDomain,
    ...(flags.rootNamespace !== undefined && { rootNamespace: flags.rootNamespace }),
    ...(flags.defaultAction !== undefined && { defaultAction: flags.defaultAction }),
  };
}

/** `k=v,k2=v2` */
export function parseLabels(text: string): Readonly<Record<string, string>> {
  const labels = text
    .split(',')
    .filter((part) => part !== '')
    .map((part): [string, string] => {
      const [name = '', value, ...rest] = part.split('=');
      if (name === '' || value === undefined || rest.length > 0) {
        throw new InvalidArgumentError(
          `${JSON.stringify(part)} is not a label: write name=value,name=value.`,
        );
      }
      return [name.trim(), value.trim()];
    });
  return Object.fromEntries(labels);
}

export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is not a port: write a number from 1 to 65535.`);
  }
  return port;
}

function parseTrustDomain(text: string): TrustDomain {
  try {
    return TrustDomain.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
