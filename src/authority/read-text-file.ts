import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { SvidgateError } from '../core/index.ts';

/**
 * The text of a regular file that holds no secret, of at most `maxBytes`. Throws `file_unreadable` with its path and what
 * is wrong.
 */
export async function readTextFile(path: string, maxBytes: number): Promise<string> {
  try {
    // Not blocking, so that a FIFO is refused rather than waited for.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat();
    if (!found.isFile()) throw new SvidgateError('file_unreadable', `${path} is not a regular file`);
    const bytes = Buffer.alloc(maxBytes + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
      length += bytesRead;
      if (length > maxBytes) throw new SvidgateError('file_unreadable', `${path} has more than ${maxBytes} bytes`);
      if (bytesRead === 0) return bytes.toString('utf8', 0, length);
    }
  } catch (cause) {
    if (cause instanceof SvidgateError) throw cause;
    throw new SvidgateError('file_unreadable', `${path} cannot be read`, { cause });
  }
}
