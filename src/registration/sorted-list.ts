/** What becomes of a sorted list. */
export interface SortedChange<T> {
  /** Elements of the list. */
  readonly removed: readonly T[];
  /** In any order. */
  readonly added: readonly T[];
  /** Gives 0 for an element and itself only, once the removed ones are out. */
  readonly compare: (a: T, b: T) => number;
}

/** The list with these changes, sorted. Looks at few of its elements, and copies the others as they are. */
export function changeSorted<T>(sorted: readonly T[], change: SortedChange<T>): readonly T[] {
  const { removed, added, compare } = change;
  if (removed.length === 0 && added.length === 0) return sorted;
  const countBefore = (value: T): number => countFirst(sorted, (element) => compare(element, value) < 0);
  const gone = removed.map((value) => countBefore(value)).sort((a, b) => a - b);
  const result: T[] = [];
  let taken = 0;
  let nextGone = 0;
  const take = (end: number): void => {
    for (; taken < end; taken += 1) {
      if (taken === gone[nextGone]) nextGone += 1;
      else result.push(sorted[taken] as T);
    }
  };
  for (const value of added.toSorted(compare)) {
    take(countBefore(value));
    result.push(value);
  }
  take(sorted.length);
  return result;
}

/** How many elements of the list come first, of those that `isFirst` is true for. */
export function countFirst<T>(sorted: readonly T[], isFirst: (element: T) => boolean): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isFirst(sorted[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}
