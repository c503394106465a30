import type { Clock } from '../core/index.ts';
import type { RegistrationEntry } from '../spiffe/index.ts';
import type { EntriesSnapshot } from './snapshot.ts';
import { countFirst } from './sorted-list.ts';

/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;

export interface ExpiryTimerOptions {
  readonly clock: Clock;
  readonly snapshot: () => EntriesSnapshot;
  /** These have expired just now, or are back since the clock was set back. */
  readonly onExpiry: (entries: readonly RegistrationEntry[]) => void;
}

/** Tells when entries end. Matching looks at the clock by itself: this is for those who wait for a change. */
export class ExpiryTimer {
  readonly #options: ExpiryTimerOptions;
  #wake = new AbortController();
  #lastLook: number;

  constructor(options: ExpiryTimerOptions) {
    this.#options = options;
    this.#lastLook = options.clock.now();
  }

  /** To be called when the entries have changed: one may end sooner. */
  entriesChanged(): void {
    this.#wake.abort();
  }

  /** Runs until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const waitMs = this.#look();
      await this.#options.clock.sleep(waitMs, AbortSignal.any([signal, this.#wake.signal])).catch(() => undefined);
    }
  }

  /** Gives the milliseconds until the next look. */
  #look(): number {
    const { clock, snapshot, onExpiry } = this.#options;
    const now = clock.now();
    const { expiring } = snapshot();
    const endedBy = (time: number): number => countFirst(expiring, ({ entry }) => (entry.expiresAt ?? 0) <= time);
    const ended = endedBy(now);
    const endedBefore = endedBy(this.#lastLook);
    this.#lastLook = now;
    const passed = expiring.slice(Math.min(ended, endedBefore), Math.max(ended, endedBefore));
    if (passed.length > 0) onExpiry(passed.map(({ entry }) => entry));
    const next = expiring[ended]?.entry.expiresAt;
    return next === undefined ? LONGEST_WAIT_MS : Math.min(LONGEST_WAIT_MS, next - now);
  }
}
