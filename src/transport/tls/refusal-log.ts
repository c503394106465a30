import type { Logger } from '../../core/index.ts';

const QUIET_MS = 10_000;
/** Reasons are a closed set; this is for the day when they are not. */
const MAX_REASONS = 64;

/** Tells of refused clients, each reason once in 10 s, with how many there were: a stranger must not fill the log. */
export class RefusalLog {
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #byReason = new Map<string, { loggedAt: number; count: number }>();

  constructor(logger: Logger, now: () => number) {
    this.#logger = logger;
    this.#now = now;
  }

  /** `address` of the client. */
  add(reason: string, address: string): void {
    const known = this.#byReason.get(reason) ?? { loggedAt: -Infinity, count: 0 };
    known.count += 1;
    if (this.#byReason.size < MAX_REASONS) this.#byReason.set(reason, known);
    const now = this.#now();
    if (now - known.loggedAt < QUIET_MS) return;
    this.#logger.warn({ reason, address, count: known.count }, 'connection refused: no accepted client certificate');
    known.loggedAt = now;
    known.count = 0;
  }
}
