import { Command } from 'commander';
import { callOperator } from '../src/operator/index.ts';
import { parsed, parseDuration, parsePodName } from './flags.ts';
import { operatorSchema } from './schema.ts';

export function tokenCommand(): Command {
  return new Command('token')
    .description('print a projected service account token for a pod (standalone mode)')
    .requiredOption('--data-dir <dir>', 'data directory of the running control plane')
    .requiredOption('--pod <namespace/name>', 'the pod that the token is bound to', parsePodName)
    .option('--audience <audience>', "the token's audience (default: the control plane's)", '')
    .addOption(parsed('--ttl <duration>', 'how long the token is valid', parseDuration, '1h'))
    .action(
      async (options: {
        dataDir: string;
        pod: { namespace: string; name: string };
        audience: string;
        ttl: number;
      }) => {
        const { token } = await callOperator(operatorSchema(), options.dataDir, 'IssueToken', {
          namespace: options.pod.namespace,
          pod: options.pod.name,
          audience: options.audience,
          ttl_seconds: Math.max(1, Math.round(options.ttl / 1_000)),
        });
        // As kubelet writes it: a newline in the file would go into Envoy's header, and no call leaves Envoy.
        process.stdout.write(process.stdout.isTTY ? `${token}\n` : token);
      },
    );
}
