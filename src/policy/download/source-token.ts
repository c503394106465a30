import { open } from 'node:fs/promises';
import { SvidgateError } from '../../core/index.ts';

const MAX_BYTES = 64 * 1024;

/** The text of a token's file without the white space around it. Throws `file_unreadable` with the path and nothing of the text. */
export async function readSourceToken(path: string): Promise<string> {
  let text: string;
  try {
    await using file = await open(path, 'r');
    if (!(await file.stat()).isFile()) throw new Error('it is not a file');
    const bytes = new Uint8Array(MAX_BYTES + 1);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    if (bytesRead > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, bytesRead)).trim();
  } catch (error) {
    throw new SvidgateError('file_unreadable', `${path} cannot be read`, { cause: error });
  }
  if (text === '') throw new SvidgateError('file_unreadable', `${path} is empty`);
  return text;
}
