const PER_SECOND = 100;
const AT_ONCE = 1000;

/**
 * How many checks are recorded that never got to a policy: whoever may connect can send them, and would otherwise push the
 * records of all others out of the log.
 */
export class RefusedShare {
  #left = AT_ONCE;
  #filledAt = performance.now();

  /** Whether one more may be recorded. */
  take(): boolean {
    const now = performance.now();
    this.#left = Math.min(AT_ONCE, this.#left + ((now - this.#filledAt) / 1000) * PER_SECOND);
    this.#filledAt = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
