const PER_SECOND = 100;
const AT_ONCE = 1000;

/** Whose checks got to no policy: no known caller's, one's that proved nothing, or one's that proved who they are. */
export type RefusedCaller = 'unknown' | 'anonymous' | 'proven';

/**
 * How many checks are recorded that never got to a policy: whoever may connect can send them, and would otherwise push the
 * records of all others out of the log. Each kind of caller has its own share.
 */
export class RefusedShares {
  readonly #shares = { unknown: new RefusedShare(), anonymous: new RefusedShare(), proven: new RefusedShare() };

  /** Whether one more may be recorded. */
  take(caller: RefusedCaller): boolean {
    return this.#shares[caller].take();
  }
}

class RefusedShare {
  #left = AT_ONCE;
  #filledAt = performance.now();

  take(): boolean {
    const now = performance.now();
    this.#left = Math.min(AT_ONCE, this.#left + ((now - this.#filledAt) / 1000) * PER_SECOND);
    this.#filledAt = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
