import { open, stat } from 'node:fs/promises';
import type { Mistake } from './mistake.ts';

const SYSTEM_TEXT: Readonly<Record<string, string>> = {
  EACCES: 'svidgate may not read it',
  EISDIR: 'it is a folder',
  ELOOP: 'it is a loop of symbolic links',
  ENAMETOOLONG: 'its name is too long',
  ENOENT: 'it does not exist',
  ENOTDIR: 'a part of its path is not a folder',
};

/** The text of a regular UTF-8 file of at most `maxBytes`, or the one mistake that kept it from being read. */
export async function readTextFile(
  path: string,
  options: { readonly maxBytes: number; /** The name in the mistake; default `path`. */ readonly file?: string },
): Promise<{ readonly text: string; readonly mistake?: never } | { readonly mistake: Mistake; readonly text?: never }> {
  const refuse = (message: string, remedy: string): { mistake: Mistake } => ({
    mistake: { file: options.file ?? path, line: 1, column: 1, message, remedy },
  });
  const tooLarge = `keep it to at most ${options.maxBytes} bytes`;
  try {
    const found = await stat(path);
    if (!found.isFile()) return refuse('cannot read the file: it is not a regular file', 'name a YAML file');
    if (found.size > options.maxBytes) return refuse(`the file has ${found.size} bytes`, tooLarge);
    const bytes = await readAtMost(path, options.maxBytes + 1);
    if (bytes.length > options.maxBytes) return refuse('the file grew while it was read', tooLarge);
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return refuse('the file is not UTF-8', 'save it as UTF-8');
    const reason = SYSTEM_TEXT[code] ?? (code === '' ? 'unknown failure' : code);
    return refuse(`cannot read the file: ${reason}`, 'check the path and its permissions');
  }
}

async function readAtMost(path: string, limit: number): Promise<Uint8Array> {
  await using file = await open(path, 'r');
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of file.createReadStream({ end: limit - 1, autoClose: false })) {
    pieces.push(piece as Uint8Array);
    length += (piece as Uint8Array).length;
  }
  return Buffer.concat(pieces, length);
}
