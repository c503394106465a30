import type { Logger } from '../core/index.ts';

/** A connection, as far as it holds memory. */
export interface Holder {
  /** Whose it is: see `ownerOf`. */
  readonly owner: string;
  /** Bytes. Changed through `HeldTotal.change` alone. */
  held: number;
  /** Ends it at once. */
  destroy(): void;
}

interface HeldOptions {
  /** Of the listener, for the log. */
  readonly name: string;
  readonly maxBytes: number;
  readonly logger: Logger;
}

/**
 * All connections of a listener, with what they hold. Beyond `maxBytes` whoever holds most, on all connections together,
 * loses the largest of them: many small ones push nobody else out.
 */
export class HeldTotal {
  readonly #options: HeldOptions;
  readonly #open = new Set<Holder>();
  #held = 0;

  constructor(options: HeldOptions) {
    this.#options = options;
  }

  add(holder: Holder): void {
    this.#open.add(holder);
  }

  remove(holder: Holder): void {
    if (this.#open.delete(holder)) this.#held -= holder.held;
  }

  change(holder: Holder, bytes: number): void {
    holder.held += bytes;
    if (!this.#open.has(holder)) return;
    this.#held += bytes;
    if (this.#held > this.#options.maxBytes) this.#closeLargest();
  }

  #closeLargest(): void {
    const { name, maxBytes, logger } = this.#options;
    const byOwner = Map.groupBy(this.#open, ({ owner }) => owner);
    const holders = largestOf([...byOwner.values()], (each) => each.reduce((sum, { held }) => sum + held, 0));
    const largest = largestOf(holders ?? [], ({ held }) => held);
    if (largest === undefined) return;
    logger.warn({ address: name, limit: maxBytes }, 'connection closed: it held too much memory');
    this.remove(largest);
    largest.destroy();
  }
}

function largestOf<T>(all: readonly T[], sizeOf: (one: T) => number): T | undefined {
  let largest: { readonly one: T; readonly size: number } | undefined;
  for (const one of all) {
    const size = sizeOf(one);
    if (largest === undefined || size > largest.size) largest = { one, size };
  }
  return largest?.one;
}

/** What an open call costs before anything has come: some 20 KB were measured, most of it outside of buffers. */
export const BYTES_OF_CALL = 8 * 1024;
