import type { Clock, Logger, Metrics } from '../../core/index.ts';

export interface RecordLogOptions {
  /** Made with mode 0700 when it is missing. */
  readonly folder: string;
  /** Of all segments; the oldest goes first. At least 1 MiB. */
  readonly maxBytes: number;
  /** A segment is closed at this size; default 16 MiB, at most an eighth of `maxBytes`. */
  readonly segmentBytes?: number;
  /** A segment is closed at this age; default an hour. */
  readonly segmentMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Decision records on disk, in segments of whole lines, written by one thread. What was written stays through a kill -9, and
 * at most the last second is lost by a power cut.
 */
export interface RecordLog extends AsyncDisposable {
  /**
   * Appends records, each one line of JSON without a newline. Never throws: while the disk refuses, they wait in memory, and
   * beyond its bound they are lost and counted. `written`: all are in the file; `lost`: at least one is not and will not be.
   */
  append(lines: readonly string[]): 'written' | 'waiting' | 'lost';
  /**
   * Decisions of which no record was made: counted, unless they are already, added up for a second, and written into the log.
   */
  lose(loss: {
    readonly reason: LossReason;
    readonly policy?: string;
    readonly count: number;
    readonly isCounted?: boolean;
  }): void;
  /** A reader that goes on where it was, by its name; a new one begins with what is appended from now on. */
  cursor(name: string): RecordCursor;
  status(): RecordLogStatus;
  /** The longest record that is taken, without its newline. */
  readonly maxLineBytes: number;
}

/**
 * `queue`: they came faster than they could be recorded; `refused`: no policy was asked, as their callers are not known or sent
 * no check, and there were too many of them; `sampled`: left out on purpose; `failed`: no record could be made of
 * them; `too_large`: their record was; `disk`: it could not be written; `torn`: half of it was in the file; `unclean_end`: what
 * was not in the file yet when the process ended.
 */
export type LossReason = 'queue' | 'refused' | 'sampled' | 'failed' | 'too_large' | 'disk' | 'torn' | 'unclean_end';

/** Where a sink is in the log. */
export interface RecordCursor {
  readonly name: string;
  /**
   * The next lines, records and losses, in order; the same ones again until `commit`. Waits until there is one. Rejects with
   * the signal's reason.
   */
  read(limits: ReadLimits): Promise<readonly RecordLine[]>;
  /** The first `count` lines of what was read last are done: after a restart they are not read again, but for the last second. */
  commit(count: number): void;
  /** Records that were removed before they were read, since the cursor was made. */
  readonly lost: number;
  /** Records that were not committed. */
  readonly behind: number;
}

export interface ReadLimits {
  readonly maxLines: number;
  /** At least one line is given. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** Without its newline. */
export interface RecordLine {
  readonly kind: 'record' | 'loss';
  readonly bytes: Buffer;
}

export interface RecordLogStatus {
  readonly bytes: number;
  readonly segments: number;
  /** Written since the log was opened. */
  readonly written: number;
  /** In memory, because the disk refuses. */
  readonly waiting: number;
  /** Since the log was opened, by reason. */
  readonly lost: Readonly<Record<string, number>>;
  /** What the disk last said; undefined when the last write was good. */
  readonly failure: string | undefined;
}
