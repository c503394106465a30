import { readFile, stat } from 'node:fs/promises';
import { SvidgateError } from '../../core/index.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { RestoreFlags } from '../groups/state.ts';
import { readPassphrase } from '../passphrase.ts';
import { configOf } from '../server-address.ts';
import { formatSpanTo } from '../when.ts';

/** A dump of 100,000 entries has some 60 MB. */
const MAX_BACKUP_BYTES = 2 * 1024 * 1024 * 1024 - 1;

/** `restore`: works on the data directory, which no server may hold meanwhile. */
export async function restore(
  options: RestoreFlags & { readonly config: string; readonly output: OutputFormat; readonly terminal: Terminal },
): Promise<ExitCode> {
  const config = await configOf(options);
  const passphrase = await readPassphrase(options);
  const file = await readBackup(options.in);
  const { restoreBackup } = await import('../../server/index.ts');
  const { createdAt, keyCount } = await restoreBackup(config, file, passphrase);
  const { output, terminal } = options;
  const made = new Date(createdAt).toISOString();
  if (output === 'json') terminal.out(`${JSON.stringify({ created_at: made, key_count: keyCount })}\n`);
  else terminal.out(`restored the state of ${made} (${formatSpanTo(createdAt, Date.now())}) with ${keyCount} keys\n`);
  return EXIT.done;
}

async function readBackup(path: string): Promise<Uint8Array> {
  try {
    if ((await stat(path)).size > MAX_BACKUP_BYTES) throw new Error(`it has more than ${MAX_BACKUP_BYTES} bytes`);
    return await readFile(path);
  } catch (cause) {
    throw new SvidgateError('file_unreadable', `the backup ${path} cannot be read`, { cause });
  }
}
