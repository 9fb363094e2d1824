import { Command } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { lintAuthn, lintTogether } from '../src/policy/index.ts';
import { findingAt, readAuthzInput, renderFinding, type AuthzInput, type Finding } from './authz-input.ts';
import { addAuthzOptions, configuredSettings, settingsFrom, type AuthzFlags } from './authz-options.ts';
import { surroundingsOf } from './authz-surroundings.ts';
import { dataText, formatTable } from './output.ts';
import { junit, ruleId, sarif } from './reports.ts';

interface Flags extends Omit<AuthzFlags, 'output'> {
  readonly output: 'table' | 'json' | 'yaml' | 'sarif' | 'junit';
}

/** Exit codes: 0 no errors (warnings there may be), 1 errors, 2 a file could not be read. */
export function authzLintCommand(): Command {
  const command = new Command('lint').description(
    'check policies: what is wrong with them, and what is legal but hardly meant',
  );
  const formats = ['table', 'json', 'yaml', 'sarif', 'junit'];
  return addAuthzOptions(command, 'table', formats).action(async (flags: Flags) => {
    const configured = await configuredSettings(flags);
    const settings = settingsFrom(configured, flags);
    const { rootNamespace } = settings;
    const input = await readAuthzInput(flags.file, { rootNamespace, nowMs: Date.now, stdin: process.stdin });
    const { trustDomain, trustDomainAliases = [], federation = [] } = configured;
    const federated = federation.map((domain) => domain.trustDomain);
    const trustDomains =
      trustDomain === undefined ? undefined : [trustDomain, ...trustDomainAliases, ...federated];
    const surroundings = {
      ...surroundingsOf(input, settings, trustDomains),
      federated,
      ...(flags.meshConfig !== undefined && {
        providers: (configured.authorizers ?? []).map(({ name }) => name),
      }),
    };
    const together = [...lintTogether(input.policies, surroundings), ...lintAuthn(input, surroundings)];
    const findings = [
      ...input.findings,
      ...together.flatMap(({ policy, ...issue }) => {
        const manifest = input.manifestOf.get(policy);
        return manifest === undefined ? [] : [findingAt(manifest, issue)];
      }),
    ].toSorted(byPlace);
    process.stdout.write(render(flags.output, findings, input));
    if (findings.some(({ line }) => line === 0)) process.exitCode = 2;
    else process.exitCode = findings.some(({ severity }) => severity === 'error') ? 1 : 0;
  });
}

function render(format: Flags['output'], findings: readonly Finding[], input: AuthzInput): string {
  switch (format) {
    case 'sarif':
      return `${JSON.stringify(sarif(packageJson.version, findings), undefined, 2)}\n`;
    case 'junit':
      return junit('countersign authz lint', junitCases(findings, input));
    case 'json':
    case 'yaml':
      return dataText(
        { findings: findings.map((finding) => ({ ...finding, code: ruleId(finding) })) },
        format,
      );
    case 'table':
      return formatTable(
        ['severity', 'place', 'code', 'finding'],
        findings.map((finding) => [
          finding.severity,
          finding.line === 0 ? finding.file : `${finding.file}:${finding.line}`,
          ruleId(finding),
          `${finding.path === '' ? '' : `${finding.path}: `}${finding.message}`,
        ]),
      );
    default:
      return format satisfies never;
  }
}

/** A case for each policy, and one for each file that is none. Warnings fail nothing. */
function junitCases(
  findings: readonly Finding[],
  { manifestOf }: AuthzInput,
): { name: string; file: string; failure?: string }[] {
  const errors = Map.groupBy(
    findings.filter(({ severity }) => severity === 'error'),
    ({ object, file }) => (object === '' ? file : object),
  );
  const failed = [...errors].map(([name, list]) => ({
    name,
    file: list[0]?.file ?? '',
    failure: list.map(renderFinding).join('\n'),
  }));
  const passed = [...manifestOf].flatMap(([{ namespace, name }, { file, value }]) => {
    const object = `${String(value['kind'])} ${namespace}/${name}`;
    return errors.has(object) ? [] : [{ name: object, file }];
  });
  return [...failed, ...passed];
}

function byPlace(a: Finding, b: Finding): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line;
}
