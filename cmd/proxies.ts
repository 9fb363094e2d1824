import { Command, Option } from 'commander';
import { callOperator, type ProxyState } from '../src/operator/index.ts';
import { formatTable, printData, type DataFormat } from './output.ts';
import { operatorSchema } from './schema.ts';

export function proxiesCommand(): Command {
  return new Command('proxies')
    .description('the Envoys that are connected now, and what each has acknowledged')
    .requiredOption('--data-dir <dir>', 'data directory of the running control plane')
    .addOption(new Option('-o, --output <format>').choices(['table', 'json', 'yaml']).default('table'))
    .action(async (flags: { dataDir: string; output: DataFormat | 'table' }) => {
      const { proxies } = await callOperator(operatorSchema(), flags.dataDir, 'ListProxies', {});
      if (flags.output === 'table') {
        process.stdout.write(
          formatTable(['pod', 'stream', 'serial', 'renewal', 'resources'], proxies.map(row)),
        );
      } else {
        printData({ proxies }, flags.output);
      }
    });
}

function row(proxy: ProxyState): readonly string[] {
  const acknowledged = proxy.resources.filter(({ acknowledged: yes }) => yes).length;
  const rejection = proxy.resources.find((resource) => resource.rejection !== '')?.rejection;
  return [
    proxy.pod,
    proxy.method,
    proxy.serial.slice(0, 16) || '-',
    proxy.renew_at || '-',
    `${acknowledged}/${proxy.resources.length} acknowledged${rejection === undefined ? '' : `; REJECTED: ${rejection}`}`,
  ];
}
