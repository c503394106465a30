import { untilAborted, type Clock } from '../core/index.ts';

/** Wakes a stream when a renewal is due. Costs nothing where nothing is leased. */
export class LeaseTimer implements Disposable {
  readonly #clock: Clock;
  readonly #onDue: () => void;
  readonly #closed = new AbortController();
  #wakesAt: number | undefined;

  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** Both are monotonic milliseconds. A wake that is set already comes first, and is then set anew. */
  set(dueAt: number | undefined, now: number): void {
    if (dueAt === undefined || (this.#wakesAt !== undefined && this.#wakesAt <= dueAt)) return;
    this.#wakesAt = dueAt;
    void this.#wake(dueAt, Math.max(0, dueAt - now));
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
  }

  async #wake(at: number, afterMs: number): Promise<void> {
    const { signal } = this.#closed;
    await untilAborted(signal, this.#clock.sleep(afterMs, signal));
    if (signal.aborted || this.#wakesAt !== at) return;
    this.#wakesAt = undefined;
    this.#onDue();
  }
}
