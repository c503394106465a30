import { wrongUsage } from './command-line.ts';
import { readInput } from './input-text.ts';

const MAX_PASSPHRASE_FILE_BYTES = 8 * 1024;

/** The passphrase of a backup, from a file or the environment: a command line would show it to every process. */
export async function readPassphrase(options: { readonly passphraseFile?: string }): Promise<string> {
  const { passphraseFile } = options;
  const text =
    passphraseFile === undefined
      ? process.env['SVIDGATE_BACKUP_PASSPHRASE']
      : (await readInput(passphraseFile, MAX_PASSPHRASE_FILE_BYTES)).replace(/\r?\n$/, '');
  if (text === undefined || text === '') {
    throw wrongUsage(
      'a backup needs a passphrase: name a file with --passphrase-file, or set SVIDGATE_BACKUP_PASSPHRASE',
    );
  }
  return text;
}
