/** Of what is still free of the part for all, how many times as much one may have. */
const MOST_OF_FREE = 3;

/**
 * The part of the queue that is for what Envoys log. One that is alone may fill three quarters of it; the more others have,
 * the less it may, so that there is always room for one more of them.
 */
export class OffloadedShares {
  readonly #most: number;
  readonly #queued = new Map<number, number>();
  #total = 0;

  /** @param most decisions of all senders together */
  constructor(most: number) {
    this.#most = most;
  }

  hasRoomFor(sender: number): boolean {
    const free = this.#most - this.#total;
    return free > 0 && (this.#queued.get(sender) ?? 0) < MOST_OF_FREE * free;
  }

  add(sender: number): void {
    this.#total += 1;
    this.#queued.set(sender, (this.#queued.get(sender) ?? 0) + 1);
  }

  /** They are with the thread that records. */
  remove(senders: readonly number[]): void {
    this.#total -= senders.length;
    for (const sender of senders) {
      const left = (this.#queued.get(sender) ?? 0) - 1;
      if (left > 0) this.#queued.set(sender, left);
      else this.#queued.delete(sender);
    }
  }

  clear(): void {
    this.#total = 0;
    this.#queued.clear();
  }
}
