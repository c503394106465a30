import { fileChanges, type Clock } from '../core/index.ts';

/** Takes a look at what it follows. Never rejects. */
export type Look = () => Promise<void>;

interface FolderWatch {
  readonly looks: Set<Look>;
  readonly stop: AbortController;
}

/** One watch for each folder, for as long as somebody follows a file in it. Folders within it do not count. */
export class FolderWatches {
  readonly #clock: Clock;
  readonly #watches = new Map<string, FolderWatch>();
  readonly #running = new Set<Promise<void>>();
  #signal: AbortSignal | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many folders are watched. */
  get size(): number {
    return this.#watches.size;
  }

  /** Calls `look` soon, and then whenever something in the folder may have changed, while `run` runs; until the returned function is called. */
  watch(folder: string, look: Look): () => void {
    const found = this.#watches.get(folder);
    const watch = found ?? { looks: new Set(), stop: new AbortController() };
    watch.looks.add(look);
    if (found === undefined) {
      this.#watches.set(folder, watch);
      this.#start(folder, watch);
    } else if (this.#signal !== undefined) {
      this.#track(look());
    }
    return () => {
      watch.looks.delete(look);
      if (watch.looks.size > 0 || this.#watches.get(folder) !== watch) return;
      this.#watches.delete(folder);
      watch.stop.abort();
    };
  }

  /** Watches until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const [folder, watch] of this.#watches) this.#start(folder, watch);
    if (!signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#signal = undefined;
    await Promise.all(this.#running);
  }

  #start(folder: string, watch: FolderWatch): void {
    if (this.#signal !== undefined) this.#track(this.#follow(folder, watch, this.#signal));
  }

  async #follow(folder: string, watch: FolderWatch, until: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([until, watch.stop.signal]);
    for await (const _ of fileChanges(folder, { clock: this.#clock, signal, recursive: false })) {
      // One after the other: a thousand reads at once would keep those of others waiting.
      for (const look of watch.looks) {
        if (!signal.aborted && watch.looks.has(look)) await look();
      }
    }
  }

  #track(work: Promise<void>): void {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }
}
