import type { RecordLine } from '../log/index.ts';

/** A receiver of records. It says what became of the first lines that it was given; how many it takes at once is its own matter. */
export interface RecordSink {
  readonly name: 'stdout' | 'opa' | 'otlp';
  /** The most that it can use of one reading. */
  readonly maxLines: number;
  readonly maxBytes: number;
  readonly pace: SinkPace;
  /** `lines` is not empty. Rejects with the signal's reason, and throws nothing else that is not a failure of the receiver. */
  deliver(lines: readonly RecordLine[], signal: AbortSignal): Promise<Delivery>;
  close(): void;
}

/** When a sink delivers. */
export interface SinkPace {
  /** After all that was there has been delivered, the pause is between these. A full portion ends it. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  readonly maxPerSecond?: number;
}

/** What became of the first `count` lines. */
export type Delivery =
  /** They are done, but for those of them that never will be. */
  | { readonly kind: 'done'; readonly count: number; readonly lost?: readonly LostRecords[] }
  /** The receiver finds fault with them and not with us: they are tried in smaller portions. */
  | { readonly kind: 'refused'; readonly count: number; readonly reason: string; readonly isTooLarge: boolean }
  /** Tried again later. */
  | { readonly kind: 'failed'; readonly reason: string; readonly afterMs?: number | undefined };

export interface LostRecords {
  readonly reason: 'too_large' | 'refused' | 'damaged';
  readonly count: number;
}

/** How a sink fares. */
export interface SinkStatus {
  readonly name: string;
  /** Records since the start. */
  readonly delivered: number;
  /** Records that it never gets: removed before it came to them (also in earlier runs), refused or damaged. */
  readonly lost: number;
  /** Records that it has not got yet. */
  readonly lagRecords: number;
  /** For how long the oldest of them has been waiting. */
  readonly lagSeconds: number;
  /** ISO 8601. */
  readonly lastDeliveredAt?: string;
  /** Why the last attempt failed, and since when they do; absent when it did not. */
  readonly failing?: { readonly since: string; readonly reason: string };
}
