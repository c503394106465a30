import { formatMistake, readTextFile } from '../config/index.ts';
import {
  createBackoff,
  describeError,
  fileChanges,
  SvidgateError,
  type Clock,
  type Logger,
  type Metrics,
} from '../core/index.ts';
import { fetchText } from './fetch-text.ts';
import { parseJwks, type KeySet } from './jwks.ts';

/** Where the keys of an issuer come from. */
export type JwksPlace =
  | { readonly kind: 'file'; readonly file: string }
  | {
      readonly kind: 'https';
      readonly url: string;
      /** PEM of the CAs that the server's certificate is checked with; Node's own when undefined. */
      readonly caFile?: string;
      /** File with the bearer token that the server wants. */
      readonly tokenFile?: string;
      /** How old a set may get before it is asked for again. */
      readonly refreshMs: number;
      /** How old a set may get when it cannot be had again. */
      readonly keepMs: number;
    };

export interface JwksSourceOptions {
  readonly provider: string;
  readonly place: JwksPlace;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Of one exchange. Default 5 s. */
  readonly timeoutMs?: number;
  /** Between the questions that tokens of unknown keys cause. Default 30 s. */
  readonly cooldownMs?: number;
}

const MAX_BYTES = 512 * 1024;
const MAX_FILE_BYTES = 64 * 1024;
const TIMEOUT_MS = 5000;
const COOLDOWN_MS = 30_000;
const RETRY = { baseMs: 1000, maxMs: 60_000 } as const;

/**
 * The keys of one issuer, kept fresh while `run` runs. One question at a time, so that no late answer takes the place of a
 * newer one; what cannot be had or read leaves the last good set, for as long as it may be kept.
 */
export class JwksSource {
  readonly #options: JwksSourceOptions;
  #set: KeySet | undefined;
  #text: string | undefined;
  #askedAt = -Infinity;
  #answeredAt = -Infinity;
  #asking: Promise<boolean> | undefined;
  #signal: AbortSignal | undefined;
  #warnedOf: string | undefined;

  constructor(options: JwksSourceOptions) {
    this.#options = options;
  }

  /** Undefined when there is none, or none that is young enough. The same object until something in it changes. */
  get keys(): KeySet | undefined {
    const { place, clock } = this.#options;
    if (place.kind === 'https' && clock.now() - this.#answeredAt > place.keepMs) return undefined;
    return this.#set;
  }

  /**
   * Asks anew, for a token whose key is not there; joins a question that is under way, and asks nothing while the last one is
   * recent. Resolves when there is an answer, or the time is up.
   */
  async renew(limitMs: number): Promise<void> {
    const { clock, cooldownMs = COOLDOWN_MS } = this.#options;
    const elapsed = clock.now() - this.#askedAt;
    const isRecent = elapsed >= 0 && elapsed < cooldownMs;
    const asking = this.#asking ?? (isRecent || this.#signal === undefined ? undefined : this.#ask(this.#signal));
    if (asking === undefined || limitMs <= 0) return;
    let timer: NodeJS.Timeout | undefined;
    const timeUp = new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)));
    await Promise.race([asking, timeUp]);
    clearTimeout(timer);
  }

  /** Keeps the keys fresh until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { place, clock } = this.#options;
    this.#signal = signal;
    try {
      if (place.kind === 'file') {
        for await (const _ of fileChanges(place.file, { clock, signal })) {
          while (this.#asking !== undefined) await this.#asking; // it may have read what was there before
          await this.#ask(signal);
        }
      } else {
        await this.#refresh(place.refreshMs, signal);
      }
    } finally {
      this.#signal = undefined;
      await this.#asking;
    }
  }

  async #refresh(refreshMs: number, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff(RETRY);
    while (!signal.aborted) {
      const isFresh = await (this.#asking ?? this.#ask(signal));
      if (isFresh) backoff.reset();
      const waitMs = isFresh ? refreshMs : Math.min(refreshMs, backoff.next());
      await this.#options.clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  /** Never rejects; false when the last good set stays. */
  #ask(signal: AbortSignal): Promise<boolean> {
    this.#askedAt = this.#options.clock.now();
    const asking = this.#read(signal)
      .then((text) => this.#take(text))
      .catch((error: unknown) => this.#refuse(error, signal))
      .finally(() => (this.#asking = undefined));
    this.#asking = asking;
    return asking;
  }

  async #read(signal: AbortSignal): Promise<string> {
    const { place, timeoutMs = TIMEOUT_MS } = this.#options;
    if (place.kind === 'file') return await readFile(place.file, MAX_BYTES);
    const { url, caFile, tokenFile } = place;
    return await fetchText({
      url,
      ca: caFile === undefined ? undefined : await readFile(caFile, MAX_BYTES),
      bearerToken: tokenFile === undefined ? undefined : (await readFile(tokenFile, MAX_FILE_BYTES)).trim(),
      maxBytes: MAX_BYTES,
      timeoutMs,
      signal,
    });
  }

  #take(text: string): boolean {
    const { provider, clock, logger } = this.#options;
    if (text !== this.#text) {
      this.#set = parseJwks(text);
      this.#text = text;
      logger.info({ provider, count: this.#set.keys.length }, 'keys of a token issuer loaded');
    }
    this.#answeredAt = clock.now();
    this.#warnedOf = undefined;
    return true;
  }

  #refuse(error: unknown, signal: AbortSignal): boolean {
    if (signal.aborted) return false;
    const { provider, logger, metrics } = this.#options;
    const reason = describeError(error);
    metrics.count('svidgate_reload_failures_total', { source: 'jwks' });
    if (reason !== this.#warnedOf) {
      logger.warn({ provider, reason }, 'keys of a token issuer not loaded, the last good ones stay');
    }
    this.#warnedOf = reason;
    return false;
  }
}

async function readFile(file: string, maxBytes: number): Promise<string> {
  const read = await readTextFile(file, { maxBytes });
  if (read.mistake !== undefined) throw new SvidgateError('file_unreadable', formatMistake(read.mistake));
  return read.text;
}
