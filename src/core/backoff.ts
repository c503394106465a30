/** Waits that grow: `baseMs` doubled per failure up to `maxMs`, each shortened at random by up to a half. */
export interface Backoff {
  /** The next wait in milliseconds. */
  next(): number;
  reset(): void;
}

export function createBackoff(options: {
  readonly baseMs: number;
  readonly maxMs: number;
  readonly random?: () => number;
}): Backoff {
  const random = options.random ?? Math.random;
  let failures = 0;
  return {
    next() {
      const full = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(failures, 30));
      failures += 1;
      return full * (1 - random() / 2);
    },
    reset() {
      failures = 0;
    },
  };
}
