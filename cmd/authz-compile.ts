import { Command, Option } from 'commander';
import {
  compile,
  compileRequestAuthentications,
  parseRuleName,
  policiesFor,
  ruleName,
  type CompileNote,
  type JwtAuthnFilter,
  type Protocol,
  type RbacFilter,
} from '../src/policy/index.ts';
import {
  addAuthzOptions,
  parseLabels,
  parsePort,
  readPolicies,
  settingsOf,
  type AuthzFlags,
} from './authz-options.ts';
import { explainedYaml } from './authz-explained.ts';
import { formatTable, printData } from './output.ts';

interface Flags extends AuthzFlags {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly port?: number;
  readonly protocol: Protocol;
}

export function authzCompileCommand(): Command {
  const command = new Command('compile')
    .description("print the filters of one workload, in Envoy's JSON form and order")
    .requiredOption('--namespace <name>', "the workload's namespace")
    .option('--labels <k=v,...>', "the workload's labels", parseLabels, {})
    .option('--port <n>', 'its one port; absent: filters for any port', parsePort)
    .addOption(new Option('--protocol <protocol>').choices(['http', 'tcp']).default('http'));
  return addAuthzOptions(command, 'json').action(async (flags: Flags) => {
    const settings = await settingsOf(flags);
    const { policies, requestAuthentications } = await readPolicies(flags, settings);
    const selected = policiesFor(policies, flags, settings);
    const verifying = policiesFor(requestAuthentications, flags, settings);
    const { custom, audit, deny, allow, notes } = compile(selected, {
      protocol: flags.protocol,
      settings,
      ...(flags.port !== undefined && { port: flags.port }),
    });
    for (const note of notes) process.stderr.write(`${renderNote(note)}\n`);
    // The control plane has the keys behind addresses, a command does not.
    const authn =
      flags.protocol === 'http' ? compileRequestAuthentications(verifying, () => undefined) : undefined;
    for (const { policy, message } of authn?.notes ?? [])
      process.stderr.write(`note RequestAuthentication ${policy}: ${message}\n`);
    const jwt = authn?.filter === undefined ? [] : [authn.filter];
    const judging = [...(custom ? [custom.select] : []), audit, deny, allow];
    if (flags.output === 'table') process.stdout.write(table(jwt, judging));
    else {
      const asking = custom ? [custom.select, custom.ask] : [];
      const filters = [...asking, ...jwt, audit, deny, allow];
      if (flags.output === 'yaml') process.stdout.write(explainedYaml(filters, selected));
      else printData({ filters }, flags.output);
    }
  });
}

function renderNote({ rule, port, message }: CompileNote): string {
  return `warning ${ruleName(rule)}${port === undefined ? '' : ` on port ${port}`}: ${message}`;
}

function table(jwt: readonly JwtAuthnFilter[], filters: readonly RbacFilter[]): string {
  const tokens = jwt.flatMap(({ name, typed_config: { providers } }) =>
    Object.keys(providers).flatMap((rule) => (parseRuleName(rule) ? [[name, 'JWT', 'verify', rule]] : [])),
  );
  const rows = filters.flatMap(({ name, typed_config: config }) => [
    ...Object.keys(config.rules?.policies ?? {}).map((rule) => [
      name,
      config.rules?.action ?? '',
      'enforce',
      rule,
    ]),
    ...Object.keys(config.shadow_rules?.policies ?? {}).map((rule) => [
      name,
      name.endsWith('.custom') ? 'CUSTOM' : (config.shadow_rules?.action ?? ''),
      name.endsWith('.custom') ? 'ask' : 'shadow',
      rule,
    ]),
  ]);
  return formatTable(['filter', 'action', 'mode', 'rule'], [...tokens, ...rows]);
}
