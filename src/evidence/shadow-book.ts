import {
  createBackoff,
  describeError,
  SvidgateError,
  untilAborted,
  type Clock,
  type Logger,
  type Metrics,
} from '../core/index.ts';
import type { ShadowStore } from '../datastore/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import type { ShadowTable } from './shadow-table.ts';

export interface ShadowBookOptions {
  readonly table: ShadowTable;
  readonly store: ShadowStore;
  readonly policies: Pick<PolicyEngine, 'status'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const WRITE_EVERY_MS = 1000;
/** Of one transaction: making records of them holds the event loop for about 2 ms. */
const MAX_ROWS_AT_ONCE = 250;
const KEPT_MS = 30 * 86_400_000;
const PRUNE_EVERY_MS = 3_600_000;

/**
 * Writes the table behind the answers, each second, and reads it back at the start. A datastore that fails costs the
 * counts of the time until the next kill -9, and never an answer.
 */
export class ShadowBook {
  readonly #options: ShadowBookOptions;
  #isLoaded = false;
  #isFailing = false;
  #prunedAt = 0;

  constructor(options: ShadowBookOptions) {
    this.#options = options;
  }

  /** Never rejects: what cannot be read now is read before the first write. */
  async load(): Promise<void> {
    try {
      await this.#read();
    } catch (error) {
      this.#tellFailure(error);
    }
  }

  /** Writes until the signal is aborted, and once more then. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const backoff = createBackoff({ baseMs: 2 * WRITE_EVERY_MS, maxMs: 60_000 });
    let pauseMs = WRITE_EVERY_MS;
    while (!signal.aborted) {
      await untilAborted(signal, clock.sleep(pauseMs, signal));
      this.#prune();
      if (await this.write()) {
        backoff.reset();
        pauseMs = WRITE_EVERY_MS;
      } else pauseMs = backoff.next();
    }
  }

  /** Writes all that waits. False when it still waits, as the datastore failed. */
  async write(): Promise<boolean> {
    try {
      await this.writeOrThrow();
      return true;
    } catch (error) {
      this.#tellFailure(error);
      return false;
    }
  }

  /** As write, but throws `datastore_failed`. */
  async writeOrThrow(): Promise<void> {
    const { table, store, logger } = this.#options;
    await this.#read();
    let isMore = true;
    while (isMore) {
      const changes = table.takeChanges(MAX_ROWS_AT_ONCE);
      isMore = changes.put.length === MAX_ROWS_AT_ONCE;
      try {
        await store.apply(changes);
      } catch (error) {
        table.giveBack(changes);
        throw error;
      }
    }
    if (this.#isFailing) logger.info({}, 'counts of shadow policies are written again');
    this.#isFailing = false;
  }

  async #read(): Promise<void> {
    if (this.#isLoaded) return;
    const counts = await this.#options.store.list();
    if (!this.#isLoaded) this.#options.table.restore(counts);
    this.#isLoaded = true;
  }

  #prune(): void {
    const { table, clock, policies } = this.#options;
    const now = clock.now();
    if (now - this.#prunedAt < PRUNE_EVERY_MS) return;
    this.#prunedAt = now;
    table.prune(now - KEPT_MS, (policy) => policies.status.value.get(policy)?.digest);
  }

  #tellFailure(error: unknown): void {
    const { logger, metrics } = this.#options;
    metrics.count('svidgate_shadow_write_failures_total', {});
    if (this.#isFailing) return;
    this.#isFailing = true;
    const fields = { error_code: SvidgateError.from(error).code, reason: describeError(error) };
    logger.warn(fields, 'counts of shadow policies cannot be written, trying again');
  }
}
