import type { Clock, ReadonlyWatchable } from '../core/index.ts';
import type { RegistrySnapshot } from '../registration/index.ts';
import type { RegistrationEntry, Selector } from '../spiffe/index.ts';

/** As RegistrySnapshot has it. */
export interface EntryMatcher {
  match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[];
}

interface Found {
  readonly matched: readonly RegistrationEntry[];
  readonly snapshot: object;
  /** While the clock is in between. */
  readonly from: number;
  readonly until: number;
}

/**
 * The entries in force that match. A connection asks for each of its calls, with one set of selectors: what was found for a
 * set stays until an entry changes or one of those found expires.
 */
export function rememberMatches(
  entries: ReadonlyWatchable<Pick<RegistrySnapshot, 'match'>>,
  clock: Pick<Clock, 'now'>,
): EntryMatcher {
  const found = new WeakMap<ReadonlySet<Selector>, Found>();
  return {
    match(selectors) {
      const snapshot = entries.value;
      const now = clock.now();
      const before = found.get(selectors);
      if (before?.snapshot === snapshot && before.from <= now && now < before.until) return before.matched;
      const matched = snapshot.match(selectors);
      const until = Math.min(...matched.map(({ expiresAt }) => expiresAt ?? Infinity));
      found.set(selectors, { matched, snapshot, from: now, until });
      return matched;
    },
  };
}
