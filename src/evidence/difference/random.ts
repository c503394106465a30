/** Chance that can be repeated. */
export interface Random {
  /** A whole number from 0 to one less than the limit. */
  below(limit: number): number;
  /** Throws for an empty list. */
  pick<T>(all: readonly T[]): T;
}

/** The same numbers for the same seed: mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const below = (limit: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
  return {
    below,
    pick<T>(all: readonly T[]): T {
      if (all.length === 0) throw new RangeError('nothing to pick from');
      return all[below(all.length)] as T;
    },
  };
}
