import { Command } from 'commander';
import { authzCheckCommand } from './authz-check.ts';
import { authzCompileCommand } from './authz-compile.ts';

export function authzCommand(): Command {
  return new Command('authz')
    .description('ask the policies: what they compile to, whom they let in')
    .addCommand(authzCompileCommand())
    .addCommand(authzCheckCommand());
}
