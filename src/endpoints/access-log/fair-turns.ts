/**
 * Lets one of those who wait go on in each turn of the event loop: what logs cost between two decisions is the same however
 * many Envoys send them, and each process gets as much as any other, whatever it sends and on how many streams.
 */
export class FairTurns {
  /** By process, the one whose turn is next first. */
  readonly #waiting = new Map<number, (() => void)[]>();
  #isScheduled = false;

  /** Resolves when it is this process's turn. */
  take(pid: number): Promise<void> {
    return new Promise((resolve) => {
      const own = this.#waiting.get(pid);
      if (own === undefined) this.#waiting.set(pid, [resolve]);
      else own.push(resolve);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.size === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#next();
      this.#schedule();
    });
  }

  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    const [pid, own] = first;
    this.#waiting.delete(pid);
    const resolve = own.shift();
    if (own.length > 0) this.#waiting.set(pid, own);
    resolve?.();
  }
}
