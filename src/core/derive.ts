import { Watchable, type ReadonlyWatchable } from './watchable.ts';

/** What `map` makes of the source's value, for as long as the source lives. `map` gives the same object when nothing changed for its readers. */
export function derive<T, U>(source: ReadonlyWatchable<T>, map: (value: T) => U): ReadonlyWatchable<U> {
  const derived = new Watchable(map(source.value));
  source.subscribe((value) => derived.set(map(value)));
  return derived;
}
