/** Both lists in one, sorted; the first is sorted already. Linear in it, where sorting anew would compare it all. */
export function mergeSorted<T>(
  sorted: readonly T[],
  added: readonly T[],
  compare: (a: T, b: T) => number,
): readonly T[] {
  if (added.length === 0) return sorted;
  const merged: T[] = [];
  let taken = 0;
  for (const next of added.toSorted(compare)) {
    const end = firstAfter(sorted, next, { compare, from: taken });
    for (; taken < end; taken += 1) merged.push(sorted[taken] as T);
    merged.push(next);
  }
  for (; taken < sorted.length; taken += 1) merged.push(sorted[taken] as T);
  return merged;
}

/** The index of the first element that comes after `value`. */
function firstAfter<T>(
  sorted: readonly T[],
  value: T,
  options: { readonly compare: (a: T, b: T) => number; readonly from: number },
): number {
  let [low, high] = [options.from, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (options.compare(sorted[middle] as T, value) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
