/** Between two moments of `clockMs()`: when something was sent, and when its answer was there. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Milliseconds since the epoch that never go back. */
export function clockMs(): number {
  return performance.timeOrigin + performance.now();
}

interface Held<T> {
  readonly value: T;
  readonly from: number;
  until: number;
}

/** Longer than any request takes. */
const KEPT_MS = 60_000;

/** A value that others change: while a change is made, both what was and what will be may hold. */
export class Timeline<T> {
  #held: Held<T>[];

  constructor(value: T) {
    this.#held = [{ value, from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY }];
  }

  /** The one that was set last. */
  get latest(): T {
    return this.#held.at(-1)!.value;
  }

  /** Before the change is asked for. What is given is called when it is known to be in force. */
  begin(value: T): () => void {
    const before = this.#held.at(-1)!;
    const now = clockMs();
    this.#held = this.#held.filter(({ until }) => until > now - KEPT_MS);
    this.#held.push({ value, from: now, until: Number.POSITIVE_INFINITY });
    return () => {
      before.until = clockMs();
    };
  }

  /** All that may have held at some moment between. */
  possible({ from, to }: Span): readonly T[] {
    return this.#held.filter((held) => held.from <= to && held.until >= from).map(({ value }) => value);
  }

  /** True when it was this, and nothing else, all the time. */
  isCertainly(value: T, span: Span): boolean {
    return this.possible(span).every((one) => one === value);
  }
}
