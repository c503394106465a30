import { SvidgateError } from '../../core/index.ts';
import type { PeerProcess } from '../../transport/index.ts';

/**
 * Calls that one process has open. Processes that the kernel does not show us (pid 0) are counted together by user: more
 * of them would have to share, but none can take what is meant for all.
 */
export class CallLimit {
  readonly #most: number;
  readonly #open = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Counts a call until the function that it returns is called, once. Throws `overloaded`. */
  enter({ pid, uid }: PeerProcess): () => void {
    const key = pid === 0 ? `uid:${uid}` : `pid:${pid}`;
    const count = this.#open.get(key) ?? 0;
    if (count >= this.#most) {
      throw new SvidgateError('overloaded', `more than ${this.#most} calls of one process at once`);
    }
    this.#open.set(key, count + 1);
    return () => this.#leave(key);
  }

  #leave(key: string): void {
    const count = this.#open.get(key) ?? 0;
    if (count <= 1) this.#open.delete(key);
    else this.#open.set(key, count - 1);
  }
}
