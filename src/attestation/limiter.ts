import { abortable } from './abortable.ts';

/** Lets at most `limit` works run at once; the others wait in order, and leave when their signal is aborted. */
export function createLimiter(limit: number): <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;

  const leave = (): void => {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next(); // hands its place over
  };
  const enter = async (signal: AbortSignal): Promise<void> => {
    if (running < limit) {
      running += 1;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.push(resolve);
    try {
      await abortable(promise, signal);
    } catch (error) {
      const index = waiting.indexOf(resolve);
      if (index >= 0) waiting.splice(index, 1);
      else leave(); // was given its place in the same moment
      throw error;
    }
  };

  return async (work, signal) => {
    signal.throwIfAborted();
    await enter(signal);
    try {
      return await work();
    } finally {
      leave();
    }
  };
}
