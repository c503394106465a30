import { SvidgateError } from '../../core/index.ts';

/** Bounds how many of something go on at once. */
export interface Limit {
  /** Dispose of it when it is over. Throws `overloaded` when there are as many as there may be. */
  enter(): Disposable;
}

export function createLimit(max: number, what: string): Limit {
  let count = 0;
  return {
    enter() {
      if (count >= max) throw new SvidgateError('overloaded', `more than ${max} ${what} at once`);
      count += 1;
      return { [Symbol.dispose]: () => void (count -= 1) };
    },
  };
}
