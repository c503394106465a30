import { Option, type Command } from 'commander';
import { clientOptions, examples, outputOption, type CliContext, type ClientOptions } from '../command-line.ts';
import type { OutputFormat } from '../terminal.ts';

type Options = Omit<ClientOptions, 'terminal'>;

/** Flags of `backup`. */
export interface BackupFlags {
  readonly out: string;
  readonly passphraseFile?: string;
}

/** Flags of `restore`. */
export interface RestoreFlags {
  readonly in: string;
  readonly passphraseFile?: string;
}

/** `svidgate backup` and `svidgate restore` */
export function addStateCommands(program: Command, { terminal, finish }: CliContext): void {
  const backup = clientOptions(
    program.command('backup').description('write the whole state of a running server to one file, encrypted'),
  )
    .addOption(new Option('--out <file>', 'file to write, mode 0600').makeOptionMandatory())
    .addOption(passphraseOption());
  backup.action(async (options: Options & BackupFlags) => {
    const { takeBackup } = await import('../commands/backup.ts');
    finish(await takeBackup({ ...options, terminal }));
  });
  examples(backup, 'svidgate backup --out svidgate.backup --passphrase-file ./passphrase');

  const restore = program
    .command('restore')
    .description('replace the state of a stopped server by a backup; newer revocations stay')
    .addOption(
      new Option('--config <file>', "the server's configuration file").env('SVIDGATE_CONFIG').makeOptionMandatory(),
    )
    .addOption(outputOption('form of the result'))
    .addOption(new Option('--in <file>', 'the backup').makeOptionMandatory())
    .addOption(passphraseOption());
  restore.action(async (options: RestoreFlags & { readonly config: string; readonly output: OutputFormat }) => {
    const { restore: run } = await import('../commands/restore.ts');
    finish(await run({ ...options, terminal }));
  });
  examples(restore, 'svidgate restore --config svidgate.yaml --in svidgate.backup --passphrase-file ./passphrase');
}

function passphraseOption(): Option {
  const description = 'file with the passphrase, without its last line feed; else SVIDGATE_BACKUP_PASSPHRASE has it';
  return new Option('--passphrase-file <file>', description);
}
