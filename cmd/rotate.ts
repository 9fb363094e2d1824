import { Command, Option } from 'commander';
import { callOperator, type RotateRootResponse } from '../src/operator/index.ts';
import { printable } from '../src/text/index.ts';
import { formatTable, printData, type DataFormat } from './output.ts';
import { operatorSchema } from './schema.ts';

interface Flags {
  readonly dataDir: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly output: DataFormat | 'table';
}

const steps: Readonly<Record<string, string>> = {
  prepare: 'make a new root and have every Envoy trust it; it signs nothing yet',
  activate: 'sign with the new root, and renew every SVID; refused until every live Envoy trusts it',
  retire: 'trust the former root no more; refused until every SVID below it is gone',
  abort: 'one step back',
};

export function rotateCommand(): Command {
  const rotate = new Command('rotate').description('replace the root without a lost request, step by step');
  rotate.addCommand(stepCommand('status', 'how the rotation stands, who lags, and what comes next'));
  for (const [step, description] of Object.entries(steps)) {
    rotate.addCommand(
      stepCommand(step, description)
        .option('--force', 'take the step though somebody lags: their requests will fail')
        .option('--dry-run', 'only say whether it could be taken, and what would follow'),
    );
  }
  return rotate;
}

function stepCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .requiredOption('--data-dir <dir>', 'data directory of the running control plane')
    .addOption(new Option('-o, --output <format>').choices(['table', 'json', 'yaml']).default('table'))
    .action(async (flags: Flags) => {
      const answer = await callOperator(operatorSchema(), flags.dataDir, 'RotateRoot', {
        step: name === 'status' ? '' : name,
        force: flags.force === true,
        dry_run: flags.dryRun === true,
      });
      if (flags.output === 'table') process.stdout.write(text(answer));
      else printData(answer, flags.output);
      // A rehearsal says no with 1, as every question does.
      if (flags.dryRun === true && answer.lagging.length > 0) process.exitCode = 1;
    });
}

function text({ state, since, signing, other, lagging, plan }: RotateRootResponse): string {
  const former = state === 'activated' ? 'former root, trusted' : 'next root, trusted';
  const rows = [
    ...(signing === null ? [] : [['signs', signing.fingerprint.slice(0, 16), signing.not_after]]),
    ...(other === null ? [] : [[former, other.fingerprint.slice(0, 16), other.not_after]]),
  ];
  const list = (head: string, lines: readonly string[]): string =>
    lines.length === 0 ? '' : `\n${head}\n${lines.map((line) => `  ${printable(line)}\n`).join('')}`;
  return (
    `${state}${since === '' ? '' : ` since ${since}`}\n\n` +
    formatTable(['role', 'root', 'ends'], rows) +
    list('In the way:', lagging) +
    list('Next:', plan)
  );
}
