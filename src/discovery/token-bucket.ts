/** What may be spent: it fills up at a steady rate, to a level that can be moved. */
export class TokenBucket {
  readonly #perSecond: number;
  #level: number;
  #tokens: number;
  #filledAt: number;

  /** Full at first. `now` is a monotonic time in milliseconds, here and below. */
  constructor(options: { readonly perSecond: number; readonly level: number; readonly now: number }) {
    this.#perSecond = options.perSecond;
    this.#level = options.level;
    this.#tokens = options.level;
    this.#filledAt = options.now;
  }

  /** False, and nothing is taken, when there are not as many. */
  take(tokens: number, now: number): boolean {
    this.#fill(now);
    if (this.#tokens < tokens) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** Takes them even when there are not as many: they are owed then. */
  owe(tokens: number, now: number): void {
    this.#fill(now);
    this.#tokens -= tokens;
  }

  /** Raises the level with what is in it, or lowers it: what was granted is owed then, even when it is spent. */
  grant(tokens: number, now: number): void {
    this.#fill(now);
    this.#level += tokens;
    this.#tokens += tokens;
  }

  isFull(now: number): boolean {
    this.#fill(now);
    return this.#tokens >= this.#level;
  }

  #fill(now: number): void {
    const seconds = Math.max(0, now - this.#filledAt) / 1000;
    this.#filledAt = now;
    this.#tokens = Math.min(this.#level, this.#tokens + seconds * this.#perSecond);
  }
}
