import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { headerOf, isObject, isOwnLine } from './log-line.ts';
import type { ReadLimits, RecordCursor, RecordLine } from './record-log.ts';
import { segmentNumbers, segmentPath } from './segments.ts';

/** A place in the log. */
export interface LogPosition {
  readonly segment: number;
  readonly offset: number;
  /** Records before it, those that were removed among them. */
  readonly record: number;
  /** Records that were removed before the reader came to them. */
  readonly lost: number;
}

/** What a cursor knows of its log. */
export interface CursorLog {
  readonly folder: string;
  /** The newest segment. */
  readonly newest: number;
  readonly records: number;
  /** Settles at the next append. */
  changed(): Promise<void>;
  /** Told of each commit. */
  moved(cursor: DiskCursor, lost: number): void;
}

const NEWLINE = 0x0a;
const FIRST_READ_BYTES = 64 * 1024;
/** More than a line of ours ever has; what is longer is damage, and the rest of its segment is passed over. */
const MAX_LINE_BYTES = 8 * 2 ** 20;

/** Reads whole lines from the segments, also while they are written and removed. */
export class DiskCursor implements RecordCursor {
  readonly name: string;
  readonly #log: CursorLog;
  #position: LogPosition;
  /** Behind each line that was read last. */
  #ends: LogPosition[] = [];
  #open: { readonly segment: number; readonly fd: number } | undefined;

  constructor(name: string, log: CursorLog, position: LogPosition) {
    this.name = name;
    this.#log = log;
    this.#position = position;
  }

  get position(): LogPosition {
    return this.#position;
  }

  get lost(): number {
    return this.#position.lost;
  }

  get behind(): number {
    return Math.max(0, this.#log.records - this.#position.record);
  }

  async read(limits: ReadLimits): Promise<readonly RecordLine[]> {
    const { signal } = limits;
    for (;;) {
      signal.throwIfAborted();
      const changed = this.#log.changed();
      const lines = this.#collect(limits);
      if (lines.length > 0) return lines;
      await untilEither(changed, signal);
    }
  }

  commit(count: number): void {
    const end = this.#ends[count - 1];
    if (end === undefined) return;
    const lost = end.lost - this.#position.lost;
    this.#position = end;
    this.#ends = this.#ends.slice(count);
    this.#log.moved(this, lost);
  }

  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd);
    this.#open = undefined;
  }

  #collect({ maxLines, maxBytes }: ReadLimits): RecordLine[] {
    const lines: RecordLine[] = [];
    this.#ends = [];
    let bytes = 0;
    let at: LogPosition | undefined = this.#position;
    while (at !== undefined && lines.length < maxLines) {
      const block = this.#block(at, lines.length === 0 ? maxBytes : maxBytes - bytes);
      if (block === undefined) {
        at = this.#behindSegment(at);
        continue;
      }
      for (const line of wholeLines(block)) {
        const isOwn = isOwnLine(line);
        const header = isOwn ? headerIn(line) : undefined;
        at = { ...(header === undefined ? at : atHeader(at, header)), offset: at.offset + line.length + 1 };
        if (header !== undefined || line.length === 0) continue;
        if (!isOwn) at = { ...at, record: at.record + 1 };
        bytes += line.length;
        if (lines.length > 0 && bytes > maxBytes) return lines;
        lines.push({ kind: isOwn ? 'loss' : 'record', bytes: line });
        this.#ends.push(at);
        if (lines.length >= maxLines) return lines;
      }
    }
    return lines;
  }

  /** Bytes from there on with at least one whole line; undefined where the segment has none. */
  #block(at: LogPosition, wanted: number): Buffer | undefined {
    const fd = this.#descriptor(at.segment);
    if (fd === undefined) return undefined;
    const left = fstatSync(fd).size - at.offset;
    if (left <= 0) return undefined;
    for (let size = Math.max(FIRST_READ_BYTES, Math.min(wanted, MAX_LINE_BYTES)); ; size *= 4) {
      const block = Buffer.allocUnsafe(Math.min(size, left));
      const read = block.subarray(0, readSync(fd, block, 0, block.length, at.offset));
      if (read.includes(NEWLINE)) return read;
      if (read.length < size || size > MAX_LINE_BYTES) return undefined;
    }
  }

  /** Undefined at the end of the log. */
  #behindSegment(at: LogPosition): LogPosition | undefined {
    if (at.segment >= this.#log.newest) return undefined;
    const next = segmentNumbers(this.#log.folder).find((number) => number > at.segment);
    return next === undefined ? undefined : { ...at, segment: next, offset: 0 };
  }

  #descriptor(segment: number): number | undefined {
    if (this.#open?.segment === segment) return this.#open.fd;
    this.close();
    try {
      const fd = openSync(segmentPath(this.#log.folder, segment), constants.O_RDONLY | constants.O_NOFOLLOW);
      this.#open = { segment, fd };
      return fd;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}

function* wholeLines(block: Buffer): Generator<Buffer> {
  let start = 0;
  for (let end = block.indexOf(NEWLINE); end !== -1; end = block.indexOf(NEWLINE, start)) {
    yield block.subarray(start, end);
    start = end + 1;
  }
}

/** What lies between was removed. */
function atHeader(at: LogPosition, first: number): LogPosition {
  return { ...at, record: first, lost: at.lost + Math.max(0, first - at.record) };
}

function headerIn(line: Buffer): number | undefined {
  try {
    const value: unknown = JSON.parse(line.toString('utf8'));
    return isObject(value) ? headerOf(value)?.first : undefined;
  } catch {
    return undefined;
  }
}

async function untilEither(changed: Promise<void>, signal: AbortSignal): Promise<void> {
  let onAbort: (() => void) | undefined;
  try {
    await Promise.race([
      changed,
      new Promise<void>((resolve) => {
        onAbort = resolve;
        signal.addEventListener('abort', onAbort, { once: true });
      }),
    ]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}
