import { setTimeout as pause } from 'node:timers/promises';
import { median, percentile } from '../statistics.ts';

/** What one round of a load gave. */
export interface Round {
  readonly perSecond: number;
  readonly latenciesMs: Float64Array;
}

/** Milliseconds of a clock that all processes of the machine share. Its zero means nothing. */
export function sharedClockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Does the same thing again and again for `durationMs`, `concurrency` of them at a time. The first failure ends it. */
export async function measureRound(
  options: { readonly concurrency: number; readonly durationMs: number },
  once: (worker: number) => Promise<void>,
): Promise<Round> {
  const latenciesMs: number[] = [];
  const begin = performance.now();
  const end = begin + options.durationMs;
  const work = async (worker: number): Promise<void> => {
    let startedAt = performance.now();
    do {
      await once(worker);
      const endedAt = performance.now();
      latenciesMs.push(endedAt - startedAt);
      startedAt = endedAt;
    } while (startedAt < end);
  };
  await Promise.all(Array.from({ length: options.concurrency }, (_, worker) => work(worker)));
  const seconds = (performance.now() - begin) / 1000;
  return { perSecond: latenciesMs.length / seconds, latenciesMs: Float64Array.from(latenciesMs) };
}

export function medianPerSecond(rounds: readonly Round[]): number {
  return median(rounds.map(({ perSecond }) => perSecond));
}

/** The median over the rounds of a percentile of their latencies. */
export function medianLatencyMs(rounds: readonly Round[], share: number): number {
  return median(rounds.map(({ latenciesMs }) => percentile(latenciesMs, share)));
}

/** Waits as short as it can: for times of some milliseconds, where 25 ms would be seen. Rejects after `limitMs`. */
export async function soon<T>(what: string, limitMs: number, ask: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + limitMs;
  while (performance.now() < end) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await pause(2);
  }
  throw new Error(`waited ${limitMs / 1000} s in vain for ${what}`);
}
