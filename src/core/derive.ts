import { Watchable, type ReadonlyWatchable } from './watchable.ts';

/** What `map` makes of the source's value, for as long as the source lives. `map` gives the same object when nothing changed for its readers. */
export function derive<T, U>(source: ReadonlyWatchable<T>, map: (value: T) => U): ReadonlyWatchable<U> {
  const derived = new Watchable(map(source.value));
  source.subscribe((value) => derived.set(map(value)));
  return derived;
}

/** As `derive`, of two sources. */
export function combine<A, B, U>(
  one: ReadonlyWatchable<A>,
  other: ReadonlyWatchable<B>,
  map: (a: A, b: B) => U,
): ReadonlyWatchable<U> {
  const combined = new Watchable(map(one.value, other.value));
  one.subscribe((value) => combined.set(map(value, other.value)));
  other.subscribe((value) => combined.set(map(one.value, value)));
  return combined;
}
