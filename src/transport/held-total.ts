import type { Logger } from '../core/index.ts';

/** A connection, as far as it holds memory. */
export interface Holder {
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

/** All connections of a listener, with what they hold; beyond `maxBytes` the one that holds most is closed. */
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
    let largest: Holder | undefined;
    for (const holder of this.#open) if (largest === undefined || holder.held > largest.held) largest = holder;
    if (largest === undefined) return;
    logger.warn({ address: name, limit: maxBytes }, 'connection closed: it held too much memory');
    this.remove(largest);
    largest.destroy();
  }
}

/** What an open call costs before anything has come: some 20 KB were measured, most of it outside of buffers. */
export const BYTES_OF_CALL = 8 * 1024;
