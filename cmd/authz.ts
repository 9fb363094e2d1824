import { Command } from 'commander';
import { authzCheckCommand } from './authz-check.ts';
import { authzCompileCommand } from './authz-compile.ts';
import { authzLintCommand } from './authz-lint.ts';
import { authzTestCommand } from './authz-test.ts';

export function authzCommand(): Command {
  return new Command('authz')
    .description('ask the policies: what they compile to, whom they let in, what is wrong with them')
    .addCommand(authzCompileCommand())
    .addCommand(authzCheckCommand())
    .addCommand(authzLintCommand())
    .addCommand(authzTestCommand());
}
