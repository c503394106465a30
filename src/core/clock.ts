import { setTimeout as delay } from 'node:timers/promises';

/** Where time comes from. Tests move one of their own. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** setTimeout fires at once beyond 2^31-1 ms, so longer waits are made of pieces. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    let left = Math.max(0, ms);
    do {
      const piece = Math.min(left, MAX_TIMER_MS);
      await delay(piece, undefined, { signal });
      left -= piece;
    } while (left > 0);
  },
};
