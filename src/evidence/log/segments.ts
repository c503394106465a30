import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { formatHeader, headerOf, isObject, isOwnLine, type SegmentHeader } from './log-line.ts';

/** One file of the log. */
export interface Segment {
  readonly number: number;
  readonly path: string;
  readonly bytes: number;
  /** How many records come before it; undefined when its first line does not say. */
  readonly first: number | undefined;
}

/** The segment that is written. */
export interface OpenSegment {
  readonly fd: number;
  readonly number: number;
  readonly path: string;
  /** Epoch milliseconds. */
  readonly openedAt: number;
}

/** What a log that was written before ends with. */
export interface LogEnd {
  readonly number: number;
  /** Records up to here. */
  readonly records: number;
  /** Behind its last whole line. */
  readonly bytes: number;
  readonly openedAt: number;
  /** When it was last written, in epoch milliseconds. */
  readonly writtenAt: number;
  readonly isTorn: boolean;
}

const NAME = /^decisions-(\d{10})\.jsonl$/;
const NEWLINE = 0x0a;
const MAX_HEADER_BYTES = 512;
const BLOCK_BYTES = 1024 * 1024;
const WRITE = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;

export function segmentPath(folder: string, number: number): string {
  return join(folder, `decisions-${String(number).padStart(10, '0')}.jsonl`);
}

/** By age. */
export function listSegments(folder: string): Segment[] {
  return segmentNumbers(folder).map((number) => {
    const path = segmentPath(folder, number);
    return { number, path, bytes: statSync(path).size, first: headerOfSegment(path)?.first };
  });
}

export function segmentNumbers(folder: string): number[] {
  return readdirSync(folder)
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((one, other) => one - other);
}

/**
 * Makes ready for more what a process left that may have ended at any point: half a line is cut off, a last segment without
 * its first line is removed. Undefined for a log without segments.
 */
export function recoverEnd(folder: string): LogEnd | undefined {
  let isTorn = false;
  for (;;) {
    const last = listSegments(folder).at(-1);
    if (last === undefined) return undefined;
    const { lines, records, bytes } = countWhole(last.path);
    if (lines === 0) {
      isTorn ||= last.bytes > MAX_HEADER_BYTES;
      rmSync(last.path);
      continue;
    }
    const { mtimeMs, birthtimeMs } = statSync(last.path);
    if (bytes < last.bytes) {
      isTorn = true;
      truncate(last.path, bytes);
    }
    const first = last.first ?? 0;
    return { number: last.number, records: first + records, bytes, openedAt: birthtimeMs, writtenAt: mtimeMs, isTorn };
  }
}

/** Makes a segment with its first line. */
export function createSegment(folder: string, header: { number: number; first: number; at: number }): OpenSegment {
  const { number, first, at } = header;
  const path = segmentPath(folder, number);
  const fd = openSync(path, WRITE | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    writeWhole(fd, Buffer.from(`${formatHeader({ segment: number, first, opened: new Date(at).toISOString() })}\n`));
  } catch (error) {
    closeSync(fd);
    rmSync(path, { force: true });
    throw error;
  }
  return { fd, number, path, openedAt: at };
}

export function reopenSegment(folder: string, { number, openedAt }: LogEnd): OpenSegment {
  const path = segmentPath(folder, number);
  const fd = openSync(path, WRITE);
  if (fstatSync(fd).isFile()) return { fd, number, path, openedAt };
  closeSync(fd);
  throw new Error(`${path} is not a regular file`);
}

/** Whether the file of that name is still the one that is open. */
export function isInPlace({ fd, path }: OpenSegment): boolean {
  const named = lstatSync(path, { throwIfNoEntry: false });
  const own = fstatSync(fd);
  return named?.ino === own.ino && named.dev === own.dev;
}

/** All of it, or nothing: a disk that is full takes a part, which is taken back. */
export function writeWhole(fd: number, bytes: Buffer): void {
  const before = fstatSync(fd).size;
  let written = 0;
  try {
    while (written < bytes.length) written += writeSync(fd, bytes, written);
  } catch (error) {
    if (written > 0) ftruncateSync(fd, before);
    throw error;
  }
}

/** Brings a file, or the names of a folder, to disk. One that is gone needs nothing. */
export async function syncFile(path: string): Promise<void> {
  try {
    // By a descriptor of its own: the one that is written may be closed meanwhile.
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    await file.sync();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
}

/** Whether a line ends right before this place of a file that is there. */
export function isLineStart(path: string, offset: number): boolean {
  if (!existsSync(path)) return false;
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    if (offset === 0) return true;
    const byte = Buffer.alloc(1);
    return readSync(fd, byte, 0, 1, offset - 1) === 1 && byte[0] === NEWLINE;
  } finally {
    closeSync(fd);
  }
}

/** What its first line says. */
export function headerOfSegment(path: string): SegmentHeader | undefined {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const start = Buffer.alloc(MAX_HEADER_BYTES);
    const length = readSync(fd, start, 0, start.length, 0);
    const end = start.subarray(0, length).indexOf(NEWLINE);
    const value: unknown = end === -1 ? undefined : JSON.parse(start.toString('utf8', 0, end));
    return isObject(value) ? headerOf(value) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Whole lines, how many of them are records, and where the last one ends. */
function countWhole(path: string): { readonly lines: number; readonly records: number; readonly bytes: number } {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const block = Buffer.alloc(BLOCK_BYTES);
    let start = Buffer.alloc(0); // of the line that is read
    let at = 0;
    let bytes = 0;
    let lines = 0;
    let records = 0;
    for (let length = 1; length > 0; at += length) {
      length = readSync(fd, block, 0, block.length, at);
      const read = block.subarray(0, length);
      let from = 0;
      for (let end = read.indexOf(NEWLINE); end !== -1; end = read.indexOf(NEWLINE, from)) {
        const line = start.length === 0 ? read.subarray(from, end) : Buffer.concat([start, read.subarray(from, end)]);
        lines += 1;
        if (!isOwnLine(line)) records += 1;
        from = end + 1;
        bytes = at + from;
        start = Buffer.alloc(0);
      }
      // What a line is shows at its start.
      if (start.length < MAX_HEADER_BYTES) start = Buffer.concat([start, read.subarray(from, from + MAX_HEADER_BYTES)]);
    }
    return { lines, records, bytes };
  } finally {
    closeSync(fd);
  }
}

function truncate(path: string, bytes: number): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    ftruncateSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
}
