import { text } from 'node:stream/consumers';
import { configInvalid, readTextFile } from '../config/index.ts';
import { wrongUsage } from './command-line.ts';

/** The text of a file, or of standard input for `-`. Throws `config_invalid` with what kept it from being read. */
export async function readInput(path: string, maxBytes: number): Promise<string> {
  if (path !== '-') {
    const read = await readTextFile(path, { maxBytes });
    if (read.mistake !== undefined) throw configInvalid([read.mistake]);
    return read.text;
  }
  const input = await text(process.stdin);
  if (input.length > maxBytes) throw wrongUsage(`standard input has more than ${maxBytes} bytes`);
  return input;
}
