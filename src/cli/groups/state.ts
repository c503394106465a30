import { Option, type Command } from 'commander';
import { clientOptions, examples, type CliContext, type ClientOptions } from '../command-line.ts';

type Options = Omit<ClientOptions, 'terminal'>;

/** Flags of `backup`. */
export interface BackupFlags {
  readonly out: string;
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
}

function passphraseOption(): Option {
  const description = 'file with the passphrase, without its last line feed; else SVIDGATE_BACKUP_PASSPHRASE has it';
  return new Option('--passphrase-file <file>', description);
}
