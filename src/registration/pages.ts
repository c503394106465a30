import { setImmediate as nextTurn } from 'node:timers/promises';

/** Some 2 ms of work on entries. */
const PAGE = 250;

/** The values, with a pause after each page, in which what else waits has its turn. */
export async function* inPages<T>(values: Iterable<T>): AsyncGenerator<T, void, void> {
  let count = 0;
  for (const value of values) {
    count += 1;
    if (count % PAGE === 0) await nextTurn();
    yield value;
  }
}
