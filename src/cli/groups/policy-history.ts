import type { Command } from 'commander';
import { clientOptions, examples, type CliContext, type ClientOptions } from '../command-line.ts';

type Options = Omit<ClientOptions, 'terminal'>;

/** Flags of `policy rollback`. */
export interface RollbackFlags {
  readonly undo?: boolean;
  readonly force?: boolean;
  readonly reason?: string;
}

/** `svidgate policy history` and `rollback` */
export function addPolicyHistory(group: Command, { terminal, finish }: CliContext): void {
  const history = clientOptions(
    group
      .command('history')
      .description('what came into force, what was refused and why, and what was rolled back; newest first')
      .argument('[policy]', 'name of a policy; all of them when left out'),
  );
  history.action(async (policy: string | undefined, options: Options) => {
    const { showPolicyHistory } = await import('../commands/policy-history.ts');
    finish(await showPolicyHistory({ ...options, ...(policy === undefined ? {} : { policy }), terminal }));
  });
  examples(history, 'svidgate policy history', 'svidgate policy history default --output json');

  const rollback = clientOptions(
    group
      .command('rollback')
      .description('bring an earlier state back into force, until the source offers something else')
      .argument('<policy>', 'name of a policy')
      .argument('[digest]', 'which state: the beginning of its digest; the one before when left out'),
  )
    .option('--force', 'leave recorded decisions alone; the compiler and its tests are asked all the same')
    .option('--undo', 'end a rollback: take what the source offers')
    .option('--reason <text>', 'why, for the history and the audit log');
  rollback.action(async (policy: string, digest: string | undefined, options: Options & RollbackFlags) => {
    const { rollBackPolicy } = await import('../commands/policy-history.ts');
    finish(await rollBackPolicy({ ...options, policy, ...(digest === undefined ? {} : { digest }), terminal }));
  });
  examples(
    rollback,
    'svidgate policy rollback default',
    'svidgate policy rollback default 3f2a9c81 --reason INC-1234',
    'svidgate policy rollback default --undo',
  );
}
