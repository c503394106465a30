import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { SvidgateError, writeFileAtomic } from '../../core/index.ts';

const KEY_BYTES = 32;

/**
 * The key of the hashes in records: made once, with mode 0600, so that equal values have equal hashes for as long as the data
 * directory lives, and nobody without it can try values. Throws `file_unreadable`.
 */
export async function openHashKey(path: string): Promise<Uint8Array> {
  try {
    const found = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (found?.byteLength === KEY_BYTES) return new Uint8Array(found);
    if (found !== undefined) throw new Error('it is not a key');
    const key = randomBytes(KEY_BYTES);
    await writeFileAtomic(path, key, 0o600);
    return new Uint8Array(key);
  } catch (error) {
    throw new SvidgateError('file_unreadable', `the key of the decision log, ${path}, cannot be read or made`, {
      cause: error,
    });
  }
}
