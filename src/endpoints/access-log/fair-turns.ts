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

/** Each takes some microseconds of the thread that answers checks. */
const STEPS_PER_TURN = 64;
const BYTES_PER_TURN = 32 * 1024;

/** What one message is given of the event loop at once. */
export class Turn {
  readonly #turns: FairTurns;
  readonly #pid: number;
  #steps = 0;
  #bytes = 0;

  constructor(turns: FairTurns, pid: number) {
    this.#turns = turns;
    this.#pid = pid;
  }

  /** Waits for it. */
  async begin(): Promise<void> {
    await this.#turns.take(this.#pid);
    this.#steps = 0;
    this.#bytes = 0;
  }

  /** Whether something of this size is for the next one. */
  isOver(bytes: number): boolean {
    this.#steps += 1;
    this.#bytes += bytes;
    return this.#steps > STEPS_PER_TURN || this.#bytes > BYTES_PER_TURN;
  }
}
