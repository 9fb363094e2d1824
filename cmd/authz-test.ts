import { Command } from 'commander';
import { parseCases, runCase, type CaseResult, type PolicyCase } from '../src/policy/index.ts';
import { loadManifests } from '../src/sources/manifests/index.ts';
import { addAuthzOptions, readPolicies, settingsOf, type AuthzFlags } from './authz-options.ts';
import { formatTable, printData } from './output.ts';
import { junit } from './reports.ts';

interface Flags extends Omit<AuthzFlags, 'output'> {
  readonly test: readonly string[];
  readonly output: 'table' | 'json' | 'yaml' | 'junit';
}

interface Ran extends CaseResult {
  readonly file: string;
  readonly line: number;
}

/** Exit codes: 0 all as expected, 1 some are not, 2 could not tell. */
export function authzTestCommand(): Command {
  const command = new Command('test')
    .description('hold policies against a file of expectations: who calls whom, and whether that is allowed')
    .requiredOption('-t, --test <path...>', 'expectations: files, directories, or - for standard input');
  return addAuthzOptions(command, 'table', ['table', 'json', 'yaml', 'junit']).action(
    async (flags: Flags) => {
      const settings = await settingsOf(flags);
      const input = await readPolicies(flags, settings);
      const { pods } = input;
      const known = await readCases(flags.test, settings.trustDomain);
      const world = {
        ...input,
        settings,
        nowMs: Date.now,
        labelsOf: (namespace: string, pod: string) => pods.get(`${namespace}/${pod}`)?.labels,
      };
      const ran = known.map(({ each, file, line }): Ran => ({ ...runCase(each, world), file, line }));
      print(flags.output, ran);
      process.exitCode = ran.every(({ passed }) => passed) ? 0 : 1;
    },
  );
}

async function readCases(
  paths: readonly string[],
  trustDomain: string,
): Promise<{ each: PolicyCase; file: string; line: number }[]> {
  const { documents, problems } = await loadManifests(paths, process.stdin);
  const errors = problems.map(({ file, line, field, message }) => `${file}:${line} ${field}: ${message}`);
  const cases = documents.flatMap((document) => {
    const parsed = parseCases(document.value, { trustDomain });
    errors.push(
      ...parsed.issues.map(
        ({ path, message }) => `${document.file}:${document.lineOf(path)} ${path}: ${message}`,
      ),
    );
    if (!parsed.ok) return [];
    return parsed.cases.map((each) => ({ each, file: document.file, line: document.lineOf(each.path) }));
  });
  for (const error of errors) process.stderr.write(`error ${error}\n`);
  if (errors.length > 0)
    throw new Error('the expectations above have errors: correct them, nothing was tried');
  if (cases.length === 0) throw new Error(`no expectations in ${paths.join(', ')}`);
  return cases;
}

function print(format: Flags['output'], ran: readonly Ran[]): void {
  const failed = ran.filter(({ passed }) => !passed);
  switch (format) {
    case 'junit': {
      const cases = ran.map(({ case: { name }, file, passed, message }) => ({
        name,
        file,
        ...(!passed && { failure: message }),
      }));
      process.stdout.write(junit('countersign authz test', cases));
      return;
    }
    case 'json':
    case 'yaml': {
      const results = ran.map(({ case: { name, expect }, file, line, passed, message, decision }) => ({
        ...{ name, file, line, passed, expected: expect, verdict: decision.verdict },
        ...{ decidedBy: decision.decidedBy, reason: decision.reason, message },
      }));
      printData({ passed: ran.length - failed.length, failed: failed.length, results }, format);
      return;
    }
    case 'table':
      process.stdout.write(
        formatTable(
          ['result', 'case', 'place', 'message'],
          ran.map(({ case: { name }, file, line, passed, message }) => [
            passed ? 'pass' : 'FAIL',
            name,
            `${file}:${line}`,
            message,
          ]),
        ),
      );
      process.stdout.write(`\n${ran.length - failed.length} passed, ${failed.length} failed\n`);
  }
}
