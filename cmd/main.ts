import { Command, CommanderError } from 'commander';
import { authzCheckCommand } from './authz-check.ts';
import { authzCompileCommand } from './authz-compile.ts';
import { bootstrapCommand } from './bootstrap.ts';
import { controlPlaneCommand } from './control-plane/command.ts';
import { proxiesCommand } from './proxies.ts';
import { renewCommand } from './renew.ts';
import { tokenCommand } from './token.ts';

/** Exit codes of every command: 0 yes or done, 1 no, 2 could not tell. */
const couldNotTell = 2;

function program(): Command {
  const authz = new Command('authz')
    .description('ask the policies: what they compile to, whom they let in')
    .addCommand(authzCompileCommand())
    .addCommand(authzCheckCommand());
  return new Command('countersign')
    .description(
      'zero-trust control plane for Envoy: identities by SDS, authorization policies as RBAC filters',
    )
    .addCommand(controlPlaneCommand())
    .addCommand(bootstrapCommand())
    .addCommand(tokenCommand())
    .addCommand(proxiesCommand())
    .addCommand(renewCommand())
    .addCommand(authz)
    .showHelpAfterError('(see countersign --help)');
}

/** Commander exits with 1 on a wrong flag; here 1 means "no". */
function exitOverride(command: Command): Command {
  command.exitOverride();
  for (const child of command.commands) exitOverride(child);
  return command;
}

try {
  await exitOverride(program()).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : couldNotTell;
  } else {
    process.stderr.write(`countersign: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = couldNotTell;
  }
}
