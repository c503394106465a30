import { setTimeout as pause } from 'node:timers/promises';

/**
 * Asks until the answer is neither undefined nor false, and gives it. Rejects after `limitMs` with what was waited for
 * and the last error; errors before that count as "not yet".
 */
export async function waitUntil<T>(
  what: string,
  limitMs: number,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const end = performance.now() + limitMs;
  let lastError: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() >= end) {
      const reason = lastError instanceof Error ? `: ${lastError.message}` : '';
      throw new Error(`waited ${limitMs / 1000} s in vain for ${what}${reason}`, { cause: lastError });
    }
    await pause(25);
  }
}
