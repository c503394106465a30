import {
  untilAborted,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import { EnvoyBooks, type StreamProcess, type StreamStatus } from './envoy-books.ts';
import { RulesBehind } from './rules-behind.ts';
import type { StreamBooks } from './stream-books.ts';

export interface EnvoyTableOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** How long an Envoy may take to accept what it was sent. */
  readonly ackTimeoutMs: number;
}

const LOOK_INTERVAL_MS = 1000;
/** Changes within this time are told together. */
const TELL_AFTER_MS = 20;

/** What each connected Envoy was sent, holds and has refused. */
export class EnvoyTable {
  readonly #options: EnvoyTableOptions;
  readonly #streams = new Set<EnvoyBooks>();
  /** Those with something that was not accepted yet. */
  readonly #unsettled = new Set<EnvoyBooks>();
  readonly #changes = new Watchable(0);
  readonly #rulesBehind: RulesBehind;
  #isTelling = false;
  #lastId = 0;

  constructor(options: EnvoyTableOptions) {
    this.#options = options;
    this.#rulesBehind = new RulesBehind(options);
  }

  /** Changes soon after `pending` may have. */
  get changed(): ReadonlyWatchable<number> {
    return this.#changes;
  }

  /** Names of the Envoys that hold our bundle and have not acknowledged this sequence number of it or a later one. */
  pending(sequence: number): readonly string[] {
    const names: string[] = [];
    for (const stream of this.#streams) if (stream.isBehind(sequence)) names.push(stream.name);
    return names;
  }

  streams(): readonly StreamStatus[] {
    return [...this.#streams].map((stream) => stream.status());
  }

  /** How many secrets Envoys have refused, or not accepted within the limit. */
  unappliedCount(): number {
    const now = this.#options.clock.now();
    let count = 0;
    for (const stream of this.#unsettled) count += stream.unapplied(now);
    return count;
  }

  /** The books of a new stream, until they are disposed. */
  open(process: StreamProcess): StreamBooks {
    this.#lastId += 1;
    const { clock, metrics, ackTimeoutMs } = this.#options;
    const books = new EnvoyBooks({
      id: this.#lastId,
      process: { pid: process.pid, uid: process.uid },
      clock,
      metrics,
      ackTimeoutMs,
      rulesBehind: this.#rulesBehind,
      onBundleChange: () => this.#tellSoon(),
      onUnsettled: (isUnsettled) => (isUnsettled ? this.#unsettled.add(books) : this.#unsettled.delete(books)),
      onClose: () => this.#streams.delete(books),
    });
    this.#streams.add(books);
    return books;
  }

  /** Logs and counts what is not applied, until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      this.#look();
      await untilAborted(signal, clock.sleep(LOOK_INTERVAL_MS, signal));
    }
  }

  #look(): void {
    const { clock, logger, metrics } = this.#options;
    const now = clock.now();
    let count = 0;
    for (const stream of this.#unsettled) count += stream.warn(now, logger);
    metrics.gauge('svidgate_sds_unapplied_rotations', {}, count);
  }

  /** Whoever listens goes through all streams, and a thousand can acknowledge at once. */
  #tellSoon(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    const tell = (): void => {
      this.#isTelling = false;
      this.#changes.set(this.#changes.value + 1);
    };
    setTimeout(tell, TELL_AFTER_MS).unref();
  }
}
