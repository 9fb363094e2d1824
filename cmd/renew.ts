import { Command } from 'commander';
import { callOperator } from '../src/operator/index.ts';
import { parsePodName } from './flags.ts';
import { operatorSchema } from './schema.ts';

export function renewCommand(): Command {
  return new Command('renew')
    .description('make and push a new SVID for a connected pod now, after proving it again')
    .requiredOption('--data-dir <dir>', 'data directory of the running control plane')
    .requiredOption('--pod <namespace/name>', 'the pod', parsePodName)
    .action(async (flags: { dataDir: string; pod: { namespace: string; name: string } }) => {
      const answer = await callOperator(operatorSchema(), flags.dataDir, 'RenewSvid', {
        namespace: flags.pod.namespace,
        pod: flags.pod.name,
      });
      process.stdout.write(`${answer.old_serial} -> ${answer.new_serial}\n`);
    });
}
