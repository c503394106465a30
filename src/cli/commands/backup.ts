import { resolve } from 'node:path';
import { SvidgateError, writeFileAtomic } from '../../core/index.ts';
import { withAdmin } from '../admin-client.ts';
import type { ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { BackupFlags } from '../groups/state.ts';
import { readPassphrase } from '../passphrase.ts';

/** `backup`: the file is there in full or not at all. Throws `file_unreadable` when it cannot be written. */
export async function takeBackup(options: ClientOptions & BackupFlags): Promise<ExitCode> {
  const passphrase = await readPassphrase(options);
  const bytes = await withAdmin(options, async (admin) => {
    const chunks: Uint8Array[] = [];
    for await (const { data } of admin.stream('backup', { passphrase })) chunks.push(data);
    return Buffer.concat(chunks);
  });
  const file = resolve(options.out);
  try {
    await writeFileAtomic(file, bytes, 0o600);
  } catch (cause) {
    throw new SvidgateError('file_unreadable', `${file} cannot be written`, { cause });
  }
  const { output, terminal } = options;
  if (output === 'json') terminal.out(`${JSON.stringify({ file, bytes: bytes.length })}\n`);
  else terminal.out(`wrote ${file}, ${bytes.length} bytes\n`);
  return EXIT.done;
}
