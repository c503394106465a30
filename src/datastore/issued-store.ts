import { createBackoff, describeError, SvidgateError, untilAborted, type Clock, type Logger } from '../core/index.ts';
import type { IssuedStore, IssuedSvid } from './datastore.ts';

/** The table of issued SVIDs, in transactions of its own. */
export interface IssuedTable {
  write(svids: readonly IssuedSvid[]): Promise<void>;
  find(serial: string): Promise<IssuedSvid | undefined>;
  prune(before: number): Promise<void>;
}

export interface WriteBehindOptions {
  readonly table: IssuedTable;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The most records that wait; the oldest is dropped for one more. Default 100,000, some 40 MB. */
  readonly maxWaiting?: number;
}

export interface WriteBehind extends IssuedStore {
  /** Writes what waits, once more if it must, and stops. What cannot be written is logged and lost. */
  close(): Promise<void>;
}

/** Long enough for a thousand SVIDs to share one commit, short enough to lose little. */
const GROUP_MS = 100;
const DEFAULT_MAX_WAITING = 100_000;

export function createWriteBehind(options: WriteBehindOptions): WriteBehind {
  return new WriteBehindStore(options);
}

class WriteBehindStore implements WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #maxWaiting: number;
  readonly #backoff = createBackoff({ baseMs: 500, maxMs: 30_000 });
  readonly #ending = new AbortController();
  /** By serial, oldest first. */
  #waiting = new Map<string, IssuedSvid>();
  /** What is being written: it waits no more and is not in the table yet. */
  #underway: ReadonlyMap<string, IssuedSvid> = new Map();
  #lastWrite: Promise<void> = Promise.resolve();
  #loop: Promise<void> | undefined;
  #dropped = 0;
  #isFailing = false;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
    this.#maxWaiting = options.maxWaiting ?? DEFAULT_MAX_WAITING;
  }

  record(svid: IssuedSvid): void {
    this.#waiting.delete(svid.serial);
    this.#waiting.set(svid.serial, svid);
    this.#keepWithinBounds();
    this.#loop ??= this.#writeGroups();
  }

  async find(serial: string): Promise<IssuedSvid | undefined> {
    return this.#waiting.get(serial) ?? this.#underway.get(serial) ?? (await this.#options.table.find(serial));
  }

  async prune(before: number): Promise<void> {
    for (const [serial, { notAfter }] of this.#waiting) if (notAfter < before) this.#waiting.delete(serial);
    await this.#lastWrite.catch(() => undefined);
    await this.#options.table.prune(before);
  }

  async flush(): Promise<void> {
    await this.#write();
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#loop;
    try {
      await this.#write();
    } catch (error) {
      const fields = { count: this.#waiting.size, ...failureFields(error) };
      this.#options.logger.warn(fields, 'issued SVIDs were not recorded');
    }
  }

  async #writeGroups(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#ending;
    let pauseMs = GROUP_MS;
    while (this.#waiting.size > 0 && !signal.aborted) {
      await untilAborted(signal, clock.sleep(pauseMs, signal));
      if (signal.aborted) break;
      try {
        await this.#write();
        pauseMs = GROUP_MS;
      } catch {
        pauseMs = this.#backoff.next(); // logged by #write
      }
    }
    this.#loop = undefined; // at once: what is recorded from here on starts the next one
  }

  /** One after the other; each takes all that waits then. */
  async #write(): Promise<void> {
    const turn = this.#lastWrite.catch(() => undefined).then(() => this.#writeWaiting());
    this.#lastWrite = turn;
    await turn;
  }

  async #writeWaiting(): Promise<void> {
    if (this.#waiting.size === 0) return;
    const underway = this.#waiting;
    this.#underway = underway;
    this.#waiting = new Map();
    try {
      await this.#options.table.write([...underway.values()]);
      this.#tellRecovery();
    } catch (error) {
      // What was recorded meanwhile is newer, also under the same serial.
      this.#waiting = new Map([...underway, ...this.#waiting]);
      this.#keepWithinBounds();
      this.#tellFailure(error);
      throw error;
    } finally {
      this.#underway = new Map();
    }
  }

  #keepWithinBounds(): void {
    for (const serial of this.#waiting.keys()) {
      if (this.#waiting.size <= this.#maxWaiting) return;
      this.#waiting.delete(serial);
      this.#dropped += 1;
    }
  }

  #tellFailure(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    const fields = { count: this.#waiting.size, ...failureFields(error) };
    this.#options.logger.warn(fields, 'issued SVIDs cannot be recorded, trying again');
  }

  #tellRecovery(): void {
    this.#backoff.reset();
    if (this.#isFailing) this.#options.logger.info({}, 'issued SVIDs are recorded again');
    if (this.#dropped > 0) this.#options.logger.warn({ count: this.#dropped }, 'records of issued SVIDs were dropped');
    this.#isFailing = false;
    this.#dropped = 0;
  }
}

function failureFields(error: unknown): { readonly error_code: string; readonly reason: string } {
  return { error_code: SvidgateError.from(error).code, reason: describeError(error) };
}
