import { createBackoff, describeError, type Backoff, type Clock, type Logger, type Metrics } from '../../core/index.ts';
import type { RecordCursor, RecordLine } from '../log/index.ts';
import type { LostRecords, RecordSink, SinkStatus } from './sink.ts';

export interface SinkRunOptions {
  readonly sink: RecordSink;
  readonly cursor: RecordCursor;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Brings one sink everything from its cursor on, in order: at least once, and nothing twice but around failures and ends. */
export interface SinkRun {
  /** Until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
  /** From now on without pauses: what is there goes out as fast as it can. */
  hurry(): void;
  status(): SinkStatus;
}

const FIRST_RETRY_MS = 500;
const MIN_LONGEST_RETRY_MS = 5000;
/** How often a pause is looked at: whether a full portion has come. */
const LOOK_MS = 250;
/** Records after one that is refused, each of which may prove that the receiver finds no fault with us. */
const MAX_PROOFS = 20;
/** A receiver that took others before refuses this often what it never takes. */
const MAX_REFUSALS = 5;

export function runSink(options: SinkRunOptions): SinkRun {
  return new Runner(options);
}

class Runner implements SinkRun {
  readonly #options: SinkRunOptions;
  readonly #backoff: Backoff;
  readonly #hurry = new AbortController();
  /** The most lines that are given at once, after the receiver refused more. */
  #portion = Infinity;
  #lastPortion = Infinity;
  #delivered = 0;
  #lost = 0;
  #lastDeliveredAt: number | undefined;
  #caughtUpAt: number;
  #oldestAt: number | undefined;
  #failing: { readonly since: number; readonly reason: string } | undefined;
  #nextAt = 0;
  /** Of the first line that is not delivered. */
  #refusals = 0;

  constructor(options: SinkRunOptions) {
    this.#options = options;
    const maxMs = Math.max(options.sink.pace.maxDelayMs, MIN_LONGEST_RETRY_MS);
    this.#backoff = createBackoff({ baseMs: FIRST_RETRY_MS, maxMs });
    this.#caughtUpAt = options.clock.now();
  }

  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        try {
          await this.#round(signal);
        } catch (error) {
          if (signal.aborted) return;
          await this.#fail(describeError(error), undefined, signal);
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  hurry(): void {
    this.#hurry.abort();
  }

  status(): SinkStatus {
    const { cursor, clock, sink } = this.#options;
    const lagRecords = cursor.behind;
    const since = this.#oldestAt ?? this.#caughtUpAt;
    return {
      name: sink.name,
      delivered: this.#delivered,
      lost: this.#lost + cursor.lost,
      lagRecords,
      lagSeconds: lagRecords === 0 ? 0 : Math.max(0, (clock.now() - since) / 1000),
      ...(this.#lastDeliveredAt === undefined ? {} : { lastDeliveredAt: textOf(this.#lastDeliveredAt) }),
      ...(this.#failing === undefined
        ? {}
        : { failing: { since: textOf(this.#failing.since), reason: this.#failing.reason } }),
    };
  }

  /** Everything that is there at its start, then the pause. */
  async #round(signal: AbortSignal): Promise<void> {
    const { sink, cursor } = this.#options;
    await this.#read(sink.maxLines, signal);
    const end = this.#delivered + this.#lost + cursor.behind;
    do await this.#deliverSome(signal);
    while (cursor.behind > 0 && this.#delivered + this.#lost < end);
    await this.#pause(signal);
  }

  async #deliverSome(signal: AbortSignal): Promise<void> {
    const { sink } = this.#options;
    await this.#sleepUntil(this.#nextAt, signal);
    const lines = await this.#read(Math.min(sink.maxLines, this.#portion, sink.pace.maxPerSecond ?? Infinity), signal);
    const delivery = await sink.deliver(lines, signal);
    if (delivery.kind === 'done') return this.#done(lines, delivery.count, delivery.lost);
    if (delivery.kind === 'failed') return this.#fail(delivery.reason, delivery.afterMs, signal);
    if (delivery.count > 1) this.#portion = Math.floor(delivery.count / 2);
    else await this.#passOver(delivery.reason, signal);
  }

  /**
   * One line is refused: it is left out when the receiver takes one of the next records, and so finds no fault with us, and refuses
   * this one still; or when it took others since the start, and refuses this one again and again.
   */
  async #passOver(reason: string, signal: AbortSignal): Promise<void> {
    const { sink } = this.#options;
    this.#refusals += 1;
    const [first, ...others] = await this.#read(MAX_PROOFS + 1, signal);
    if (first === undefined) return this.#fail(reason, undefined, signal);
    const isOften = this.#refusals >= MAX_REFUSALS && this.#delivered > 0;
    if (!isOften && !(await this.#takesOneOf(others, signal))) return this.#fail(reason, undefined, signal);
    const again = await sink.deliver([first], signal);
    if (again.kind === 'failed') return this.#fail(again.reason, again.afterMs, signal);
    const isLost = again.kind === 'refused' && first.kind === 'record';
    this.#done([first], 1, again.kind === 'done' ? again.lost : isLost ? [{ reason: 'refused', count: 1 }] : []);
  }

  async #takesOneOf(lines: readonly RecordLine[], signal: AbortSignal): Promise<boolean> {
    for (const line of lines) {
      if (line.kind !== 'record') continue;
      const proof = await this.#options.sink.deliver([line], signal);
      if (proof.kind === 'failed') return false;
      if (proof.kind === 'done' && (proof.lost ?? []).length === 0) return true;
    }
    return false;
  }

  #done(lines: readonly RecordLine[], count: number, lost: readonly LostRecords[] = []): void {
    const { cursor, clock, logger, metrics, sink } = this.#options;
    const records = lines.slice(0, count).filter(({ kind }) => kind === 'record').length;
    const missing = lost.reduce((sum, each) => sum + each.count, 0);
    cursor.commit(count);
    this.#delivered += records - missing;
    this.#lost += missing;
    this.#lastDeliveredAt = clock.now();
    this.#oldestAt = undefined;
    this.#caughtUpAt = clock.now();
    this.#lastPortion = count;
    this.#refusals = 0;
    this.#portion = this.#portion > sink.maxLines ? Infinity : this.#portion * 2;
    if (sink.pace.maxPerSecond !== undefined) this.#nextAt = clock.now() + (records * 1000) / sink.pace.maxPerSecond;
    if (records > missing) {
      metrics.count('svidgate_decision_log_sink_delivered_total', { sink: sink.name }, records - missing);
    }
    for (const { reason, count: by } of lost) {
      metrics.count('svidgate_decision_log_sink_lost_total', { sink: sink.name, reason }, by);
      logger.warn({ sink: sink.name, count: by, reason }, 'decision records not delivered');
    }
    if (this.#failing !== undefined) logger.info({ sink: sink.name }, 'decision records delivered again');
    this.#failing = undefined;
    this.#backoff.reset();
  }

  async #fail(reason: string, afterMs: number | undefined, signal: AbortSignal): Promise<void> {
    const { clock, logger, metrics, sink } = this.#options;
    metrics.count('svidgate_decision_log_sink_failures_total', { sink: sink.name });
    if (this.#failing?.reason !== reason)
      logger.warn({ sink: sink.name, reason }, 'decision records cannot be delivered');
    this.#failing = { since: this.#failing?.since ?? clock.now(), reason };
    await clock.sleep(Math.max(this.#backoff.next(), afterMs ?? 0), signal);
  }

  async #read(maxLines: number, signal: AbortSignal): Promise<readonly RecordLine[]> {
    const { cursor, sink } = this.#options;
    const lines = await cursor.read({ maxLines, maxBytes: sink.maxBytes, signal });
    this.#oldestAt ??= timeOf(lines[0]);
    return lines;
  }

  /** A random part of the span, so that many servers do not come at once; shorter when there is enough for a full portion. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { cursor, clock, sink } = this.#options;
    const { minDelayMs, maxDelayMs } = sink.pace;
    const now = clock.now();
    const end = now + minDelayMs + Math.random() * (maxDelayMs - minDelayMs);
    await this.#sleepUntil(now + minDelayMs, signal);
    while (clock.now() < end && cursor.behind < this.#lastPortion && !this.#hurry.signal.aborted) {
      await this.#sleepUntil(Math.min(end, clock.now() + LOOK_MS), signal);
    }
  }

  async #sleepUntil(time: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    if (clock.now() >= time || this.#hurry.signal.aborted) return;
    try {
      await clock.sleep(time - clock.now(), AbortSignal.any([signal, this.#hurry.signal]));
    } catch (error) {
      if (signal.aborted) throw error;
    }
  }
}

function textOf(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** When its decision was made. */
function timeOf(line: RecordLine | undefined): number | undefined {
  const found = line === undefined ? null : /"timestamp":"([0-9TZ:.+-]{20,40})"/.exec(line.bytes.toString('utf8'));
  const time = Date.parse(found?.[1] ?? '');
  return Number.isNaN(time) ? undefined : time;
}
