/** Choices that are the same for the same seed. */
export interface Random {
  /** At least 0, less than 1. */
  fraction(): number;
  /** A whole number from 0, less than `end`. */
  below(end: number): number;
  pick<T>(choices: readonly T[]): T;
  /** By how often each should be picked beside the others. */
  weighted<T>(choices: readonly (readonly [weight: number, choice: T])[]): T;
  /** Choices of its own, so that what one part does changes nothing for the others. */
  fork(): Random;
}

/** Mulberry32. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number): number => Math.floor(fraction() * end);
  return {
    fraction,
    below,
    pick<T>(choices: readonly T[]): T {
      if (choices.length === 0) throw new Error('nothing to pick from');
      return choices[below(choices.length)] as T;
    },
    weighted(choices) {
      let rest = fraction() * choices.reduce((sum, [weight]) => sum + weight, 0);
      const [, last] = choices.at(-1)!;
      return choices.find(([weight]) => (rest -= weight) < 0)?.[1] ?? last;
    },
    fork: () => seededRandom(below(2 ** 32)),
  };
}
