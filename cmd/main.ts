import { Command, CommanderError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };

/** Exit codes of every command: 0 yes or done, 1 no, 2 could not tell. */
const couldNotTell = 2;

/** Each command is loaded only when it is asked for: most need none of the control plane's packages. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  'control-plane': async () => (await import('./control-plane/command.ts')).controlPlaneCommand(),
  bootstrap: async () => (await import('./bootstrap.ts')).bootstrapCommand(),
  token: async () => (await import('./token.ts')).tokenCommand(),
  proxies: async () => (await import('./proxies.ts')).proxiesCommand(),
  renew: async () => (await import('./renew.ts')).renewCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
  recover: async () => (await import('./recover.ts')).recoverCommand(),
  rotate: async () => (await import('./rotate.ts')).rotateCommand(),
  quarantine: async () => (await import('./quarantine.ts')).quarantineCommand(),
  federation: async () => (await import('./federation.ts')).federationCommand(),
  authz: async () => (await import('./authz.ts')).authzCommand(),
};

async function program(): Promise<Command> {
  const root = new Command('countersign')
    .description(
      'zero-trust control plane for Envoy: identities by SDS, authorization policies as RBAC filters',
    )
    .version(packageJson.version);
  const asked = commands[process.argv[2] ?? ''];
  for (const load of asked === undefined ? Object.values(commands) : [asked]) root.addCommand(await load());
  return root;
}

/** Commander would exit with 1 on a wrong flag; here 1 means "no". */
function throwInsteadOfExit(command: Command): Command {
  command.exitOverride().showHelpAfterError('(see countersign --help)');
  for (const child of command.commands) throwInsteadOfExit(child);
  return command;
}

try {
  await throwInsteadOfExit(await program()).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : couldNotTell;
  } else {
    process.stderr.write(`countersign: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = couldNotTell;
  }
}
