import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { SvidgateError } from '../../core/index.ts';
import type { DecisionRecord } from '../records/decision-record.ts';
import { headerOf, isObject, lossOf, type LossLine } from './log-line.ts';
import { recordOf } from './record-shape.ts';
import { keepText } from './recorded-text.ts';
import { headerOfSegment } from './segments.ts';
import { splitLines, type FoundLine } from './split-lines.ts';

export interface ReadRecordsOptions {
  readonly signal?: AbortSignal;
  /** Epoch milliseconds: records from this time on. */
  readonly since?: number;
  /** Epoch milliseconds: records before this time. */
  readonly until?: number;
  /** Told after each piece of a file. */
  readonly onProgress?: (progress: ReadProgress) => void;
}

export interface ReadProgress {
  /** Of the files, as they are on disk. */
  readonly readBytes: number;
  readonly totalBytes: number;
  readonly records: number;
}

/** What was met so far. */
export interface ReadCounts {
  /** Given. */
  records: number;
  /** Left out by `since` and `until`. */
  outside: number;
  /** Lines that are no record: not JSON, something else, or longer than 16 MiB. Also a file that ends in the middle of its gzip. */
  damaged: number;
  /** The last line of a log that is being written. */
  unfinished: number;
  /** Records between two segments that somebody removed. */
  missing: number;
  /** What the log itself says is lost, by reason. */
  readonly losses: Map<string, LossCount>;
}

export interface LossCount {
  readonly lines: number;
  readonly records: number;
  /** Of the lines, those that do not know how many. */
  readonly unknown: number;
}

/** The records in the order of the log; `counts` grows while they are read. */
export interface RecordReading extends AsyncIterable<DecisionRecord> {
  readonly counts: Readonly<ReadCounts>;
}

/** Bounds what one line can take; records are far smaller. A body of OPA's API is one line, too. */
const MAX_LINE_BYTES = 16 * 2 ** 20;
const CHUNK_BYTES = 256 * 1024;
const GZIP_START = Buffer.from([0x1f, 0x8b]);

/**
 * Reads decision logs: folders of segments, single files of one JSON value a line, either with gzip, and OPA's own decision
 * logs. What is damaged is counted and passed over. Iterating throws `file_unreadable` for a path that cannot be read.
 */
export function readRecords(paths: readonly string[] | string, options: ReadRecordsOptions = {}): RecordReading {
  const counts: ReadCounts = {
    records: 0,
    outside: 0,
    damaged: 0,
    unfinished: 0,
    missing: 0,
    losses: new Map(),
  };
  const all = typeof paths === 'string' ? [paths] : paths;
  return { counts, [Symbol.asyncIterator]: () => new LogReading(counts, options).read(all) };
}

interface LogFile {
  readonly path: string;
  readonly bytes: number;
  /** Whether more may be written to it. */
  readonly isLive: boolean;
  /** Whether it may be gone by the time that it is read. */
  readonly isInFolder: boolean;
}

class LogReading {
  readonly #counts: ReadCounts;
  readonly #options: ReadRecordsOptions;
  /** Of the file that is read: where the next segment of the folder should begin. */
  #next: number | undefined;

  constructor(counts: ReadCounts, options: ReadRecordsOptions) {
    this.#counts = counts;
    this.#options = options;
  }

  async *read(paths: readonly string[]): AsyncGenerator<DecisionRecord> {
    const files: LogFile[] = [];
    for (const path of paths) files.push(...(await filesOf(path, this.#options.since)));
    const totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
    let readBytes = 0;
    for (const file of files) {
      const tell = (bytes: number): void =>
        this.#options.onProgress?.({ readBytes: readBytes + bytes, totalBytes, records: this.#counts.records });
      yield* this.#readFile(file, tell);
      readBytes += file.bytes;
    }
  }

  async *#readFile(file: LogFile, tell: (bytes: number) => void): AsyncGenerator<DecisionRecord> {
    const { signal } = this.#options;
    try {
      await using handle = await open(file.path, 'r');
      const isGzip = await startsWithGzip(handle);
      const limits = { start: 0, autoClose: false, highWaterMark: CHUNK_BYTES };
      const stream = handle.createReadStream(signal === undefined ? limits : { ...limits, signal });
      const chunks = isGzip ? pipeline(stream, createGunzip({ chunkSize: CHUNK_BYTES }), () => undefined) : stream;
      for await (const lines of splitLines(chunks as AsyncIterable<Buffer>, MAX_LINE_BYTES)) {
        for (const line of lines) yield* this.#recordsOf(line, file.isLive);
        tell(stream.bytesRead);
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (file.isInFolder && isMissing(error)) return;
      // What was unpacked before is good.
      if (!isGzipError(error)) throw unreadable(file.path, error);
      this.#counts.damaged += 1;
    }
  }

  *#recordsOf({ bytes, isEnded }: FoundLine, isLive: boolean): Generator<DecisionRecord> {
    const text = bytes?.toString('utf8');
    const value = text === undefined ? undefined : parse(text);
    if (Array.isArray(value)) {
      for (const member of value as unknown[]) yield* this.#recordIn(member);
    } else if (value === undefined && !isEnded && isLive) {
      this.#counts.unfinished += 1;
    } else {
      yield* this.#recordIn(value, text);
    }
  }

  *#recordIn(value: unknown, text?: string): Generator<DecisionRecord> {
    if (!isObject(value)) {
      this.#counts.damaged += 1;
      return;
    }
    const record = recordOf(value);
    if (record === undefined) return this.#takeOwnLine(value);
    this.#next = this.#next === undefined ? undefined : this.#next + 1;
    const { since, until } = this.#options;
    const at = since === undefined && until === undefined ? 0 : Date.parse(record.timestamp);
    if (at < (since ?? -Infinity) || at >= (until ?? Infinity)) {
      this.#counts.outside += 1;
      return;
    }
    this.#counts.records += 1;
    if (text !== undefined && Object.is(record, value)) keepText(record, text);
    yield record;
  }

  #takeOwnLine(value: Readonly<Record<string, unknown>>): void {
    const loss = lossOf(value);
    const header = headerOf(value);
    if (loss !== undefined) this.#takeLoss(loss);
    else if (header === undefined) this.#counts.damaged += 1;
    else {
      if (this.#next !== undefined && header.first > this.#next) this.#counts.missing += header.first - this.#next;
      this.#next = header.first;
    }
  }

  #takeLoss({ reason, count }: LossLine): void {
    const { lines, records, unknown } = this.#counts.losses.get(reason) ?? { lines: 0, records: 0, unknown: 0 };
    const sum = { lines: lines + 1, records: records + (count ?? 0), unknown: unknown + (count === null ? 1 : 0) };
    this.#counts.losses.set(reason, sum);
  }
}

/** A folder's logs by name, which is by age for segments; the last one may still be written. */
async function filesOf(path: string, since: number | undefined): Promise<LogFile[]> {
  try {
    const found = await stat(path);
    if (!found.isDirectory()) return [{ path, bytes: found.size, isLive: true, isInFolder: false }];
    const names = (await readdir(path)).filter((name) => /^[^.].*\.jsonl(?:\.gz)?$/.test(name)).sort();
    const all = await Promise.all(names.map((name) => fileIn(join(path, name), name === names.at(-1))));
    const files = all.filter((file) => file !== undefined);
    // What is in a segment was decided before the next one was begun.
    return files.filter((_, index) => since === undefined || !(openedAt(files[index + 1]) < since));
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Undefined for one that the log has removed meanwhile. */
async function fileIn(path: string, isLive: boolean): Promise<LogFile | undefined> {
  try {
    return { path, bytes: (await stat(path)).size, isLive, isInFolder: true };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** When the segment was begun; NaN when that is not known. */
function openedAt(file: LogFile | undefined): number {
  if (file === undefined) return NaN;
  try {
    return Date.parse(headerOfSegment(file.path)?.opened ?? '');
  } catch {
    return NaN;
  }
}

async function startsWithGzip(file: FileHandle): Promise<boolean> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(GZIP_START.length), 0, GZIP_START.length, 0);
  return bytesRead === GZIP_START.length && buffer.equals(GZIP_START);
}

function unreadable(path: string, cause: unknown): SvidgateError {
  return new SvidgateError('file_unreadable', `the decision log ${path} cannot be read`, { cause });
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function isGzipError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('Z_');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
