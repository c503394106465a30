/**
 * The latest value of something that changes. A reader that is slow gets the newest value, never a backlog;
 * a reader that starts late gets the present value first.
 */
export interface ReadonlyWatchable<T> {
  readonly value: T;
  /** Yields the present value, then the newest one after each change, until the signal is aborted. */
  watch(signal: AbortSignal): AsyncGenerator<T, void, void>;
  /** Calls back on each change (not for the present value) until the returned function is called. */
  subscribe(onChange: (value: T) => void): () => void;
}

export class Watchable<T> implements ReadonlyWatchable<T> {
  #value: T;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#value = initial;
  }

  get value(): T {
    return this.#value;
  }

  /** Sets the value and tells every reader, unless it is the same object or primitive. */
  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of this.#listeners) listener(value);
  }

  subscribe(onChange: (value: T) => void): () => void {
    this.#listeners.add(onChange);
    return () => this.#listeners.delete(onChange);
  }

  async *watch(signal: AbortSignal): AsyncGenerator<T, void, void> {
    let wake: (() => void) | undefined;
    let changed = true;
    const notify = (): void => {
      changed = true;
      wake?.();
    };
    const unsubscribe = this.subscribe(notify);
    signal.addEventListener('abort', notify);
    try {
      while (!signal.aborted) {
        if (changed) {
          changed = false;
          yield this.#value;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
          wake = undefined;
        }
      }
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', notify);
    }
  }
}
