/** One thing at a time, in order. What may be interrupted gives way to what interrupts, and begins anew after it. */
export class TurnTaker {
  #last: Promise<unknown> = Promise.resolve();
  #running: AbortController | undefined;
  #interrupters = 0;

  async take<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  /** The work does not throw when its signal is aborted. */
  async takeInterruptibly(signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    let isDone = false;
    while (!isDone && !signal.aborted) {
      isDone = await this.take(async () => {
        if (this.#interrupters > 0) return false;
        const running = new AbortController();
        this.#running = running;
        try {
          await work(AbortSignal.any([signal, running.signal]));
        } finally {
          this.#running = undefined;
        }
        return !running.signal.aborted;
      });
    }
  }

  async interrupt<T>(work: () => Promise<T>): Promise<T> {
    this.#interrupters += 1;
    this.#running?.abort();
    try {
      return await this.take(work);
    } finally {
      this.#interrupters -= 1;
    }
  }

  /** Resolves when what was asked for so far is done. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
