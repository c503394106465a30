import type { Command } from 'commander';
import { clientOptions, examples, type CliContext, type ClientOptions } from '../command-line.ts';

/** `svidgate status` */
export function addStatus(program: Command, { terminal, finish }: CliContext): void {
  const status = clientOptions(
    program.command('status').description('show connected Envoys and what each holds, keys, policies, revocations'),
  ).option('--watch', 'show it again after each change, until interrupted');
  status.action(async (options: Omit<ClientOptions, 'terminal'> & { readonly watch?: boolean }) => {
    const commands = await import('../commands/status.ts');
    const show = options.watch === true ? commands.watchStatus : commands.showStatus;
    finish(await show({ ...options, terminal }));
  });
  examples(status, 'svidgate status', 'svidgate status --watch', 'svidgate status --output json');
}
