import {
  createBackoff,
  describeError,
  SvidgateError,
  type Clock,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import type { PolicyEvent, PolicyHistory } from './policy-event.ts';

export interface PolicyRecordOptions {
  readonly policy: string;
  /** Default: nothing outlives the process. */
  readonly history?: PolicyHistory;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** In memory; the history on disk keeps about as many. */
const MAX_EVENTS = 200;
const MAX_UNWRITTEN = 100;

/**
 * The history of one policy. What the source does is in force whether it can be written or not: it is written as soon as
 * that is possible, in order.
 */
export class PolicyRecord {
  readonly #options: PolicyRecordOptions;
  readonly #closing = new AbortController();
  readonly #backoff = createBackoff({ baseMs: 1000, maxMs: 60_000 });
  #events: readonly PolicyEvent[] = [];
  #unwritten: PolicyEvent[] = [];
  #writing: Promise<void> = Promise.resolve();
  #retrying: Promise<void> | undefined;
  #isFailing = false;

  constructor(options: PolicyRecordOptions) {
    this.#options = options;
  }

  /** Reads what was written before. Never rejects: a history that cannot be read is an empty one. */
  async open(): Promise<void> {
    const { history, policy } = this.#options;
    try {
      this.#events = [...((await history?.list(policy)) ?? []), ...this.#events];
    } catch (error) {
      this.#tellFailure(error, 'policy history not read');
    }
  }

  /** Oldest first. */
  get events(): readonly PolicyEvent[] {
    return this.#events;
  }

  /** The last one that was no refusal: it says what is in force. */
  get last(): PolicyEvent | undefined {
    return this.#events.findLast(({ kind }) => kind !== 'refused');
  }

  /**
   * For what happens all the same. Resolves when it was tried to write it; then that is tried again by itself. Never rejects.
   */
  async note(event: PolicyEvent): Promise<void> {
    this.#remember(event);
    if (this.#options.history === undefined) return;
    this.#unwritten.push(event);
    if (this.#unwritten.length > MAX_UNWRITTEN) this.#unwritten.shift();
    if (this.#retrying !== undefined) return;
    try {
      await this.#inTurn(() => this.#writeWaiting());
    } catch (error) {
      this.#tellFailure(error, 'policy history not written, trying again');
      this.#retrying ??= this.#writeLater();
    }
  }

  /** For what happens only when it is written. Throws what the history throws; then it has not happened. */
  async append(event: PolicyEvent): Promise<void> {
    await this.#inTurn(async () => {
      await this.#writeWaiting();
      await this.#options.history?.append(event);
    });
    this.#remember(event);
  }

  /** Tries once more to write what waits. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#retrying;
    await this.#inTurn(() => this.#writeWaiting()).catch(() => undefined); // told before
  }

  #remember(event: PolicyEvent): void {
    this.#events = [...this.#events, event].slice(-MAX_EVENTS);
  }

  async #writeLater(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    while (this.#unwritten.length > 0 && !signal.aborted) {
      await clock.sleep(this.#backoff.next(), signal).catch(() => undefined);
      if (signal.aborted) break;
      await this.#inTurn(() => this.#writeWaiting()).catch(() => undefined); // told before
    }
    this.#retrying = undefined;
  }

  async #inTurn(write: () => Promise<void>): Promise<void> {
    const turn = this.#writing.then(write);
    this.#writing = turn.catch(() => undefined);
    await turn;
  }

  async #writeWaiting(): Promise<void> {
    for (let event = this.#unwritten[0]; event !== undefined; event = this.#unwritten[0]) {
      await this.#options.history?.append(event);
      if (this.#unwritten[0] === event) this.#unwritten.shift();
    }
    if (this.#isFailing) this.#options.logger.info({}, 'policy history is written again');
    this.#isFailing = false;
    this.#backoff.reset();
  }

  /** Once, until it works again. */
  #tellFailure(error: unknown, message: string): void {
    const { policy, logger, metrics } = this.#options;
    metrics.count('svidgate_policy_history_failures_total', { policy });
    if (this.#isFailing) return;
    this.#isFailing = true;
    logger.warn({ error_code: SvidgateError.from(error).code, reason: describeError(error) }, message);
  }
}
