import type { Clock } from '../core/index.ts';

/** Which tokens were used, until they end. */
export interface ReplayCache {
  /**
   * Takes a token as used. `replayed` when it was before; `full` when there is no room to remember it; `too_old` when it may
   * have been used before this process began to remember.
   */
  use(token: {
    /** Tells it from all others of its issuer. Kept as it is, so not the token itself. */
    readonly id: string;
    /** Not before this. Epoch milliseconds; undefined when the token does not say. */
    readonly issuedAt: number | undefined;
    /** When it is refused for its age anyway. Epoch milliseconds. */
    readonly expiresAt: number;
  }): 'first' | 'replayed' | 'full' | 'too_old';
}

const MAX_TOKENS = 100_000;
const SWEEP_EVERY_MS = 60_000;
const SWEEP_FULL_EVERY_MS = 1000;

interface ReplayCacheOptions {
  readonly clock: Clock;
  readonly maxTokens?: number;
  /** Since when uses are remembered, in epoch milliseconds. Default: from now on. */
  readonly startedAt?: number;
}

/**
 * A cache for each name, of those that are given: what was used under one is told under no other, nor does one that is
 * full keep the others from remembering. The names are a closed set.
 */
export function createReplayBooks(options: ReplayCacheOptions): (name: string) => ReplayCache {
  const startedAt = options.clock.now();
  const books = new Map<string, ReplayCache>();
  return (name) => {
    const found = books.get(name) ?? createReplayCache({ startedAt, ...options });
    books.set(name, found);
    return found;
  };
}

/** Nothing is forgotten before its end: a cache that is full takes no more tokens. */
export function createReplayCache(options: ReplayCacheOptions): ReplayCache {
  const { clock, maxTokens = MAX_TOKENS } = options;
  const { startedAt = clock.now() } = options;
  const ends = new Map<string, number>();
  let sweptAt = -Infinity;

  const sweep = (now: number): void => {
    if (Math.abs(now - sweptAt) < (ends.size < maxTokens ? SWEEP_EVERY_MS : SWEEP_FULL_EVERY_MS)) return;
    sweptAt = now;
    for (const [id, end] of ends) if (end <= now) ends.delete(id);
  };

  return {
    use({ id, issuedAt, expiresAt }) {
      if (issuedAt === undefined || issuedAt < startedAt) return 'too_old';
      const now = clock.now();
      sweep(now);
      if ((ends.get(id) ?? -Infinity) > now) return 'replayed';
      if (ends.size >= maxTokens) return 'full';
      ends.set(id, expiresAt);
      return 'first';
    },
  };
}
