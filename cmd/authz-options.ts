import { InvalidArgumentError, Option, type Command } from 'commander';
import type { MeshSettings } from '../src/policy/index.ts';
import { readAuthzInput, type AuthzInput } from './authz-input.ts';

/** What both authz commands take. */
export interface AuthzFlags {
  readonly file: readonly string[];
  readonly rootNamespace: string;
  readonly defaultAction: 'allow' | 'deny';
  readonly output: 'table' | 'json' | 'yaml';
}

export function addAuthzOptions(command: Command, output: AuthzFlags['output']): Command {
  return command
    .requiredOption('-f, --file <path...>', 'manifests: files, directories, or - for standard input')
    .option('--root-namespace <name>', 'its policies reach every namespace', 'countersign-system')
    .addOption(
      new Option('--default-action <action>', 'where no ALLOW policy selects a workload')
        .choices(['deny', 'allow'])
        .default('deny'),
    )
    .addOption(new Option('-o, --output <format>').choices(['table', 'json', 'yaml']).default(output));
}

/** The manifests behind `-f`, findings on stderr. An error in any of them means that nothing can be told. */
export async function readPolicies(flags: AuthzFlags): Promise<AuthzInput> {
  const input = await readAuthzInput(flags.file, {
    rootNamespace: flags.rootNamespace,
    nowMs: Date.now,
    stdin: process.stdin,
  });
  for (const line of input.report) process.stderr.write(`${line}\n`);
  if (input.failed) throw new Error('the manifests above have errors: correct them, nothing was decided');
  return input;
}

export function settingsOf(flags: AuthzFlags, trustDomain: string): MeshSettings {
  return { trustDomain, rootNamespace: flags.rootNamespace, defaultAction: flags.defaultAction };
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
