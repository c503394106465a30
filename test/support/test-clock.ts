import type { Clock } from '../../src/core/index.ts';

interface Sleeper {
  at: number;
  readonly wake: () => void;
}

/** A clock that stands still until the test moves it. */
export interface TestClock extends Clock {
  /** Moves on, waking each sleeper at its own time, and lets the work that follows run. */
  advance(ms: number): Promise<void>;
  /** How many wait for a time. Whoever woke and works with files is not among them yet. */
  readonly sleeping: number;
  /** Sets the time, as an operator or NTP does: sleepers sleep on for as long as they had left. */
  set(time: number): void;
}

export function createTestClock(start = Date.UTC(2026, 0, 1)): TestClock {
  let now = start;
  const sleepers = new Set<Sleeper>();
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    now: () => now,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason as Error);
        const onAbort = (): void => {
          sleepers.delete(sleeper);
          reject(signal.reason as Error);
        };
        const wake = (): void => {
          sleepers.delete(sleeper);
          signal.removeEventListener('abort', onAbort);
          resolve();
        };
        // Whole milliseconds, as Date.now() has them.
        const sleeper = { at: now + Math.max(0, Math.ceil(ms)), wake };
        sleepers.add(sleeper);
        signal.addEventListener('abort', onAbort, { once: true });
      });
    },
    get sleeping() {
      return sleepers.size;
    },
    set(time) {
      for (const sleeper of sleepers) sleeper.at += time - now;
      now = time;
    },
    async advance(ms) {
      const end = now + ms;
      for (;;) {
        await settle();
        const [next] = [...sleepers].filter(({ at }) => at <= end).sort((one, other) => one.at - other.at);
        if (next === undefined) break;
        now = Math.max(now, next.at);
        next.wake();
      }
      now = end;
      await settle();
    },
  };
}
