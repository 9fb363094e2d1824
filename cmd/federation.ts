import { Command, Option } from 'commander';
import { callOperator, type FederatedDomainState } from '../src/operator/index.ts';
import { printable } from '../src/text/index.ts';
import { formatTable, printData, type DataFormat } from './output.ts';
import { operatorSchema } from './schema.ts';

export function federationCommand(): Command {
  const federation = new Command('federation').description(
    'the trust domains that are trusted beside the own',
  );
  federation
    .command('list')
    .description('which bundle of each is in force, since when, and why there is no newer one')
    .requiredOption('--data-dir <dir>', 'data directory of the running control plane')
    .addOption(new Option('-o, --output <format>').choices(['table', 'json', 'yaml']).default('table'))
    .action(async (flags: { dataDir: string; output: DataFormat | 'table' }) => {
      const { domains } = await callOperator(operatorSchema(), flags.dataDir, 'ListFederation', {});
      if (flags.output === 'table') {
        const header = ['trust domain', 'profile', 'sequence', 'roots', 'fetched', 'state'];
        process.stdout.write(formatTable(header, domains.map(row)));
      } else {
        printData({ domains }, flags.output);
      }
    });
  return federation;
}

function row(domain: FederatedDomainState): readonly string[] {
  return [
    domain.trust_domain,
    domain.profile,
    domain.sequence || '-',
    domain.roots.map((root) => root.slice(0, 16)).join(' ') || '-',
    domain.fetched_at || 'never',
    domain.failure === '' ? 'ok' : printable(domain.failure),
  ];
}
