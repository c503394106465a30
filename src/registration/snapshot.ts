import type { RegistrationEntry, Selector, SpiffeId } from '../spiffe/index.ts';

/** The entries in force at one moment. Never changes. */
export interface RegistrySnapshot {
  /** Sorted by entry id. */
  readonly entries: readonly RegistrationEntry[];
  /** The entries whose selectors the caller has all of, sorted by entry id. */
  match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[];
  /** Whether any entry gives this SPIFFE ID. */
  hasSpiffeId(id: SpiffeId): boolean;
}

/** Takes entries that are sorted by entry id. */
export function createSnapshot(entries: readonly RegistrationEntry[]): RegistrySnapshot {
  const spiffeIds = new Set(entries.map(({ spiffeId }) => spiffeId));
  const bySelector = indexByRarestSelector(entries);
  return {
    entries,
    hasSpiffeId: (id) => spiffeIds.has(id),
    match(selectors) {
      const found: number[] = [];
      for (const selector of selectors) {
        for (const index of bySelector.get(selector) ?? []) {
          if (entries[index]?.selectors.every((wanted) => selectors.has(wanted)) === true) found.push(index);
        }
      }
      return found.sort((a, b) => a - b).flatMap((index) => entries[index] ?? []);
    },
  };
}

/**
 * Each entry stands under one of its selectors only, the one that the fewest entries have: a caller has few selectors,
 * and one that all entries share (such as `unix:uid:0`) would bring all of them up.
 */
function indexByRarestSelector(entries: readonly RegistrationEntry[]): ReadonlyMap<Selector, readonly number[]> {
  const counts = new Map<Selector, number>();
  for (const { selectors } of entries) {
    for (const selector of selectors) counts.set(selector, (counts.get(selector) ?? 0) + 1);
  }
  const index = new Map<Selector, number[]>();
  for (const [position, { selectors }] of entries.entries()) {
    const [first, ...others] = selectors;
    if (first === undefined) continue; // the type allows it, parsing does not: such an entry must match nobody
    const count = (selector: Selector): number => counts.get(selector) ?? 0;
    const rarest = others.reduce((best, selector) => (count(selector) < count(best) ? selector : best), first);
    const positions = index.get(rarest);
    if (positions === undefined) index.set(rarest, [position]);
    else positions.push(position);
  }
  return index;
}
