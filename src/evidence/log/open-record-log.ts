import { describeError, SvidgateError } from '../../core/index.ts';
import { readCursorFiles, writeCursorFile } from './cursor-files.ts';
import { DiskCursor, type CursorLog, type LogPosition } from './disk-cursor.ts';
import { LossBook } from './loss-book.ts';
import { holdRecordFolder, type FolderHold } from './record-folder.ts';
import type { LossReason, RecordCursor, RecordLog, RecordLogOptions, RecordLogStatus } from './record-log.ts';
import { SegmentWriter } from './segment-writer.ts';
import { isLineStart, listSegments, segmentPath } from './segments.ts';

const MIN_BYTES = 2 ** 20;
const SEGMENT_BYTES = 16 * 2 ** 20;
const SEGMENT_MS = 3600_000;
const TICK_MS = 1000;
/** One write takes about this much. */
const PIECE_BYTES = 2 ** 20;
const MAX_LINE_BYTES = 4 * 2 ** 20;
/** What waits for a disk that refuses. */
const MAX_WAITING_BYTES = 8 * 2 ** 20;
const RETRY_MS = 250;

/**
 * Opens the log and makes ready what a process left that may have ended at any point. Throws `file_unreadable` for a folder that
 * is not ours alone or cannot be read, and `already_running` when another process writes there. A disk that is full is no error.
 */
export async function openRecordLog(options: RecordLogOptions): Promise<RecordLog> {
  const hold = holdRecordFolder(options.folder);
  try {
    const log = new DiskLog(options, hold);
    await log.settle();
    return log;
  } catch (error) {
    if (!hold.wasLeftOpen) hold.release();
    if (error instanceof SvidgateError) throw error;
    const message = `the decision log in ${options.folder} cannot be read or written`;
    throw new SvidgateError('file_unreadable', message, { cause: error });
  }
}

type Operation = 'write' | 'sync' | 'cursor';

interface Piece {
  readonly bytes: Buffer;
  readonly records: number;
}

class DiskLog implements RecordLog, CursorLog {
  readonly folder: string;
  readonly #options: RecordLogOptions;
  readonly #hold: FolderHold;
  readonly #writer: SegmentWriter;
  readonly #losses = new LossBook();
  readonly #places: Map<string, LogPosition>;
  readonly #cursors = new Map<string, DiskCursor>();
  readonly #unsaved = new Set<DiskCursor>();
  readonly #stop = new AbortController();
  readonly #ticking: Promise<void>;
  readonly #maxLineBytes: number;
  #waiting: Piece[] = [];
  #waitingBytes = 0;
  #written = 0;
  #failure: string | undefined;
  readonly #told = new Map<Operation, string>();
  #failedAt = -Infinity;
  #change = Promise.withResolvers<undefined>();

  constructor(options: RecordLogOptions, hold: FolderHold) {
    const { folder, clock } = options;
    const maxBytes = Math.max(MIN_BYTES, options.maxBytes);
    const segmentBytes = Math.min(options.segmentBytes ?? SEGMENT_BYTES, Math.floor(maxBytes / 8));
    this.folder = folder;
    this.#options = options;
    this.#hold = hold;
    this.#maxLineBytes = Math.min(MAX_LINE_BYTES, segmentBytes);
    const segmentMs = options.segmentMs ?? SEGMENT_MS;
    this.#writer = new SegmentWriter({ folder, maxBytes, segmentBytes, segmentMs, now: () => clock.now() });
    this.#places = this.#validPlaces();
    if (hold.wasLeftOpen) this.#tellUncleanEnd();
    this.#ticking = this.#tickUntil(this.#stop.signal);
  }

  /** Writes what is known about the last run. */
  async settle(): Promise<void> {
    await this.#tick();
  }

  append(lines: readonly string[]): 'written' | 'waiting' | 'lost' {
    let result: 'written' | 'waiting' | 'lost' = 'written';
    for (const piece of this.#pieces(lines)) {
      if (piece === 'too_large') result = 'lost';
      else if (this.#waiting.length === 0 && this.#mayTry() && this.#tryWrite(piece)) continue;
      else if (this.#waitingBytes + piece.bytes.length > MAX_WAITING_BYTES) {
        this.lose({ reason: 'disk', count: piece.records });
        result = 'lost';
      } else {
        this.#waiting.push(piece);
        this.#waitingBytes += piece.bytes.length;
        if (result === 'written') result = 'waiting';
      }
    }
    if (this.#waiting.length > 0 && this.#mayTry() && this.#flush() && result === 'waiting') result = 'written';
    return result;
  }

  lose({
    reason,
    policy,
    count,
    isCounted = false,
  }: {
    readonly reason: LossReason;
    readonly policy?: string;
    readonly count: number;
    readonly isCounted?: boolean;
  }): void {
    if (count <= 0) return;
    const now = this.#options.clock.now();
    this.#losses.add({ reason, policy, count, from: now, until: now });
    if (reason === 'sampled' || isCounted) return;
    this.#options.metrics.count('svidgate_decision_log_lost_total', { reason }, count);
  }

  cursor(name: string): RecordCursor {
    const open = this.#cursors.get(name);
    if (open !== undefined) return open;
    const cursor = new DiskCursor(name, this, this.#places.get(name) ?? this.#head());
    this.#cursors.set(name, cursor);
    // At once: what is appended from now on is for this reader, also after a kill -9.
    this.#unsaved.add(cursor);
    this.#saveCursors();
    return cursor;
  }

  status(): RecordLogStatus {
    return {
      bytes: this.#writer.bytes,
      segments: this.#writer.segments,
      written: this.#written,
      waiting: this.#waiting.reduce((sum, { records }) => sum + records, 0),
      lost: this.#losses.total,
      failure: this.#failure,
    };
  }

  get maxLineBytes(): number {
    return this.#maxLineBytes - 1;
  }

  get newest(): number {
    return this.#writer.newest;
  }

  get records(): number {
    return this.#writer.records;
  }

  changed(): Promise<void> {
    return this.#change.promise;
  }

  moved(cursor: DiskCursor, lost: number): void {
    this.#unsaved.add(cursor);
    if (lost === 0) return;
    const { logger, metrics } = this.#options;
    metrics.count('svidgate_decision_log_sink_lost_total', { sink: cursor.name, reason: 'overrun' }, lost);
    logger.warn({ sink: cursor.name, count: lost }, 'decision records removed before they were delivered');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return this.#ticking;
    this.#stop.abort();
    await this.#ticking;
    await this.#tick();
    for (const cursor of this.#cursors.values()) cursor.close();
    const waiting = this.status().waiting;
    if (waiting > 0) this.lose({ reason: 'disk', count: waiting });
    try {
      await this.#writer.close();
      if (waiting === 0) this.#hold.release();
    } catch (error) {
      this.#fail(error, 'sync');
    }
  }

  async #tickUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#options.clock.sleep(TICK_MS, signal);
      } catch {
        return;
      }
      await this.#tick();
    }
  }

  /** Once in a second: what waits, losses, and what a power cut would take. */
  async #tick(): Promise<void> {
    if (this.#waiting.length > 0) this.#flush();
    const lines = this.#losses.lines();
    if (lines.length > 0 && this.#waiting.length === 0) {
      if (this.#tryWrite({ bytes: Buffer.from(`${lines.join('\n')}\n`), records: 0 })) this.#losses.written();
    }
    this.#saveCursors();
    this.#options.metrics.gauge('svidgate_decision_log_bytes', {}, this.#writer.bytes);
    try {
      await this.#writer.sync();
    } catch (error) {
      this.#fail(error, 'sync');
    }
  }

  #mayTry(): boolean {
    return this.#failure === undefined || performance.now() - this.#failedAt >= RETRY_MS;
  }

  /** Whether nothing waits any more. */
  #flush(): boolean {
    while (this.#waiting[0] !== undefined) {
      if (!this.#tryWrite(this.#waiting[0])) return false;
      this.#waitingBytes -= this.#waiting.shift()?.bytes.length ?? 0;
    }
    return true;
  }

  #tryWrite({ bytes, records }: Piece): boolean {
    try {
      this.#writer.write(bytes, records);
    } catch (error) {
      this.#fail(error, 'write');
      return false;
    }
    if (this.#failure !== undefined) {
      this.#failure = undefined;
      this.#told.clear();
      this.#options.logger.info({ file: this.folder }, 'decision log written again');
    }
    this.#written += records;
    if (records > 0) this.#options.metrics.count('svidgate_decision_log_records_total', {}, records);
    this.#change.resolve(undefined);
    this.#change = Promise.withResolvers();
    return true;
  }

  #fail(error: unknown, operation: Operation): void {
    const reason = describeError(error);
    const { logger, metrics } = this.#options;
    metrics.count('svidgate_decision_log_failures_total', { operation });
    if (this.#told.get(operation) !== reason)
      logger.error({ file: this.folder, reason }, 'decision log cannot be written');
    this.#told.set(operation, reason);
    if (operation !== 'write') return;
    this.#failure = reason;
    this.#failedAt = performance.now();
  }

  *#pieces(lines: readonly string[]): Generator<Piece | 'too_large'> {
    let parts: string[] = [];
    let length = 0;
    for (const line of lines) {
      const bytes = Buffer.byteLength(line) + 1;
      if (bytes > this.#maxLineBytes) {
        this.lose({ reason: 'too_large', count: 1 });
        yield 'too_large';
        continue;
      }
      if (length + bytes > Math.min(PIECE_BYTES, this.#maxLineBytes) && parts.length > 0) {
        yield { bytes: Buffer.from(`${parts.join('\n')}\n`), records: parts.length };
        parts = [];
        length = 0;
      }
      parts.push(line);
      length += bytes;
    }
    if (parts.length > 0) yield { bytes: Buffer.from(`${parts.join('\n')}\n`), records: parts.length };
  }

  #saveCursors(): void {
    for (const cursor of this.#unsaved) {
      try {
        writeCursorFile(this.folder, cursor.name, cursor.position);
        this.#unsaved.delete(cursor);
      } catch (error) {
        return this.#fail(error, 'cursor');
      }
    }
  }

  #head(): LogPosition {
    const newest = listSegments(this.folder).at(-1);
    const record = this.#writer.records;
    return { segment: newest?.number ?? 0, offset: newest?.bytes ?? 0, record, lost: 0 };
  }

  /** Places that the log does not have any more are moved so that records may be read twice, and never go missing. */
  #validPlaces(): Map<string, LogPosition> {
    const segments = listSegments(this.folder);
    const start: LogPosition = {
      segment: segments[0]?.number ?? 0,
      offset: 0,
      record: segments[0]?.first ?? 0,
      lost: 0,
    };
    const end = this.#writer.end;
    const placeOf = (place: LogPosition | null): LogPosition => {
      if (place === null || place.segment > this.newest) return { ...start, lost: place?.lost ?? 0 };
      const segment = segments.find(({ number }) => number === place.segment);
      if (segment === undefined || isLineStart(segmentPath(this.folder, place.segment), place.offset)) return place;
      // A power cut took what was read already.
      if (place.offset > segment.bytes && place.segment === end?.number) {
        return { ...place, offset: segment.bytes, record: this.#writer.records };
      }
      return { ...place, offset: 0, record: segment.first ?? place.record };
    };
    return new Map([...readCursorFiles(this.folder)].map(([name, place]) => [name, placeOf(place)]));
  }

  #tellUncleanEnd(): void {
    const { clock, logger, metrics } = this.#options;
    const from = this.#writer.end?.writtenAt ?? clock.now();
    const until = clock.now();
    const isTorn = this.#writer.end?.isTorn === true;
    logger.warn({ file: this.folder, count: isTorn ? 1 : 0 }, 'decision log was not closed in order');
    metrics.count('svidgate_decision_log_unclean_ends_total', {});
    this.#losses.add({ reason: 'unclean_end', count: null, from, until });
    if (!isTorn) return;
    this.#losses.add({ reason: 'torn', count: 1, from, until });
    metrics.count('svidgate_decision_log_lost_total', { reason: 'torn' });
  }
}
