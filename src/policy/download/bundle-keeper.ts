import { describeError, type Clock, type Logger, type Metrics } from '../../core/index.ts';
import {
  decodeDownloadedBundle,
  encodeDownloadedBundle,
  type DownloadedBundle,
  type KeptBundles,
} from './kept-bundle.ts';

export interface BundleKeeperOptions {
  readonly policy: string;
  /** See DownloadedBundle. */
  readonly place: string;
  readonly kept: KeptBundles;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** How exact the time of the last contact is after a restart. */
const TOUCH_EVERY_MS = 60_000;

/** Keeps the last good bundle of one policy on disk, one write at a time and the newest last. */
export class BundleKeeper {
  readonly #options: BundleKeeperOptions;
  #saved: DownloadedBundle | undefined;
  #wanted: DownloadedBundle | undefined;
  #touchedAt = Number.NEGATIVE_INFINITY;
  #queue: Promise<void> = Promise.resolve();
  #warnedOf: DownloadedBundle | undefined;

  constructor(options: BundleKeeperOptions) {
    this.#options = options;
  }

  /** Resolves when nothing is being written. */
  get settled(): Promise<void> {
    return this.#queue;
  }

  /** Undefined when there is nothing, or nothing of this place. Throws what the store throws, and for damage. */
  async load(): Promise<{ readonly download: DownloadedBundle; readonly contactAt: number } | undefined> {
    const { kept, policy, place, logger } = this.#options;
    const found = await kept.load(policy);
    if (found === undefined) return undefined;
    const download = decodeDownloadedBundle(place, found.bytes);
    if (download === undefined) {
      logger.warn({ reason: 'it is damaged, or from another place' }, 'kept bundle not used');
      return undefined;
    }
    this.#saved = download;
    return { download, contactAt: Math.max(found.touchedAt, download.downloadedAt) };
  }

  /** Has it written, unless that was done already. A failure is told, and tried again at the next call. */
  save(download: DownloadedBundle): void {
    if (download === this.#saved || download === this.#wanted) return;
    this.#wanted = download;
    this.#queue = this.#queue.then(() => this.#write(download));
  }

  /** The source says that this is still the newest. */
  touch(download: DownloadedBundle | undefined): void {
    const { clock, kept, policy } = this.#options;
    const isKept = download !== undefined && download === this.#saved;
    if (!isKept || clock.now() - this.#touchedAt < TOUCH_EVERY_MS) return;
    this.#touchedAt = clock.now();
    // That the time is not exact harms nobody.
    this.#queue = this.#queue.then(() => kept.touch(policy)).catch(() => undefined);
  }

  async #write(download: DownloadedBundle): Promise<void> {
    const { kept, policy, logger, metrics } = this.#options;
    // A newer one waits behind it.
    if (download !== this.#wanted) return;
    try {
      await kept.save(policy, encodeDownloadedBundle(download));
      this.#saved = download;
    } catch (error) {
      metrics.count('svidgate_policy_keep_failures_total', { policy });
      if (this.#warnedOf !== download) logger.warn({ reason: describeError(error) }, 'bundle not kept on disk');
      this.#warnedOf = download;
    }
    if (download === this.#wanted) this.#wanted = undefined;
  }
}
