import { constants, type BigIntStats } from 'node:fs';
import { open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { SvidgateError } from '../core/index.ts';

export interface FilePlace {
  /** Absolute. May itself be reached by links, as it was configured. */
  readonly folder: string;
  /** Absolute and normalised, beneath the folder. */
  readonly path: string;
  /** Folders with rules of their own: what is in one of them that is within `folder` is not read, whatever links lead there. */
  readonly others?: readonly string[];
}

export interface ReadFile {
  readonly bytes: Buffer;
  /** Permission bits. */
  readonly mode: number;
}

/** The largest file that is taken. */
export const MAX_FILE_BYTES = 1024 * 1024;

/** Finds a file or folder without opening it for anything; the same number on every architecture that Node runs on. */
const O_PATH = 0o10000000;
/** For a folder that is moved or a file that is written to meanwhile. */
const MAX_TRIES = 4;

const CHANGING = 'it changes while it is read';

/** Perhaps only because somebody was at it at the same time. */
class Unsettled extends Error {}

/**
 * Reads a regular file of at most 1 MiB through no link beneath the folder, and never one in the data directory. What is
 * read is what was checked: the kernel names the folder that the path led to, the file is found in that very folder without
 * being opened, and only the very same file is then read. Throws `file_unreadable` with the path.
 */
export async function readBeneath(place: FilePlace, dataDir: string): Promise<ReadFile> {
  const { path } = place;
  try {
    for (let tries = 1; ; tries += 1) {
      try {
        return await readOnce(place, dataDir);
      } catch (error) {
        if (!(error instanceof Unsettled)) throw error;
        if (tries === MAX_TRIES) throw refused(path, error.message);
      }
    }
  } catch (cause) {
    if (cause instanceof SvidgateError) throw cause;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new SvidgateError('file_unreadable', `${path} cannot be read: ${code}`, { cause });
  }
}

async function readOnce({ folder, path, others = [] }: FilePlace, dataDir: string): Promise<ReadFile> {
  const top = await realpath(folder);
  const expected = dirname(join(top, relative(folder, path)));
  await using parent = await open(expected, O_PATH | constants.O_DIRECTORY);
  // Bytes, since two names can be equal once they are decoded.
  const actual = await readlink(descriptorPath(parent), { encoding: 'buffer' });
  if (!actual.equals(Buffer.from(expected))) throw new Unsettled('there is a link in its path');
  if (isWithin(expected, await realpath(dataDir))) throw refused(path, 'it is in the data directory');
  for (const other of others) {
    const inner = await realpath(other).catch(() => other); // one that is not there holds nothing
    if (inner !== top && isWithin(inner, top) && isWithin(expected, inner)) {
      throw refused(path, `it is in ${other}, which has rules of its own`);
    }
  }
  await using found = await open(`${descriptorPath(parent)}/${basename(path)}`, O_PATH | constants.O_NOFOLLOW);
  const before = await found.stat({ bigint: true });
  if (before.isSymbolicLink()) throw refused(path, 'it is a link');
  if (!before.isFile()) throw refused(path, 'it is not a regular file');
  if (before.size > MAX_FILE_BYTES) throw refused(path, `it has more than ${MAX_FILE_BYTES} bytes`);
  await using file = await open(descriptorPath(found), constants.O_RDONLY | constants.O_NONBLOCK);
  const bytes = await readAll(file, path);
  const after = await file.stat({ bigint: true });
  if (!isSameState(before, after)) throw new Unsettled(CHANGING);
  return { bytes, mode: Number(after.mode) & 0o777 };
}

function descriptorPath(file: FileHandle): string {
  return `/proc/self/fd/${file.fd}`;
}

/** At most one byte more than is allowed is ever read, however the file grows. */
async function readAll(file: FileHandle, path: string): Promise<Buffer> {
  const size = Math.min((await file.stat()).size, MAX_FILE_BYTES);
  const bytes = Buffer.alloc(size + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
    length += bytesRead;
    if (length > MAX_FILE_BYTES) throw refused(path, `it has more than ${MAX_FILE_BYTES} bytes`);
    if (length > size) throw new Unsettled(CHANGING);
    if (bytesRead === 0) return bytes.subarray(0, length);
  }
}

function isSameState(before: BigIntStats, after: BigIntStats): boolean {
  return before.size === after.size && before.mtimeNs === after.mtimeNs;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}

function refused(path: string, reason: string): SvidgateError {
  return new SvidgateError('file_unreadable', `${path} is not served: ${reason}`);
}
