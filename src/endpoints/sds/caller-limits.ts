import { SvidgateError, type Metrics } from '../../core/index.ts';
import type { Selector } from '../../spiffe/index.ts';
import type { FieldTally } from './request-tally.ts';
import { TokenBucket } from './token-bucket.ts';

/** What one caller may use: all processes with the same selectors together. */
export interface SdsLimits {
  readonly streams: number;
  readonly namesPerStream: number;
  /** Requests other than replies to what was sent. As many at once, and two more for each open stream. */
  readonly requestsPerSecond: number;
  /** Of all requests. Four times as many at once. */
  readonly requestBytesPerSecond: number;
}

export interface CallerLimitsOptions {
  readonly limits: SdsLimits;
  readonly metrics: Metrics;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** Bounds the names of one stream. */
export interface NameLimit {
  /** Throws `overloaded`. */
  check(names: FieldTally): void;
}

/** What one caller may use at present. */
export interface CallerAllowance {
  readonly names: NameLimit;
  /** Counts an open stream until it is disposed. Throws `overloaded`. */
  openStream(): Disposable;
  /** Throws `overloaded`. */
  takeBytes(count: number): void;
  /** Throws `overloaded`. */
  takeRequest(): void;
}

const MAX_NAME_BYTES = 2300; // a SPIFFE ID has at most 2048, with room for prefixes
/** Of all names together, for each that is allowed: they are kept for as long as the stream lives. */
const BYTES_PER_NAME = 256;
const MIN_TOTAL_BYTES = 256 * 1024;

const REQUESTS_PER_STREAM = 2;
const BYTES_BURST_SECONDS = 4;
/** How often callers that are gone are forgotten. */
const SWEEP_INTERVAL_MS = 1000;

type Limit = 'streams' | 'names' | 'requests' | 'bytes';

interface CallerState {
  streams: number;
  readonly requests: TokenBucket;
  readonly bytes: TokenBucket;
}

/** The limits of all callers. A caller that is gone is forgotten as soon as it could do all again that it may. */
export class CallerLimits {
  readonly #limits: SdsLimits;
  readonly #metrics: Metrics;
  readonly #now: () => number;
  readonly #callers = new Map<string, CallerState>();
  #sweptAt = 0;

  constructor({ limits, metrics, now = () => performance.now() }: CallerLimitsOptions) {
    this.#limits = limits;
    this.#metrics = metrics;
    this.#now = now;
  }

  /** How many callers are remembered. */
  get size(): number {
    return this.#callers.size;
  }

  allowance(selectors: ReadonlySet<Selector>): CallerAllowance {
    this.#sweep();
    const key = JSON.stringify([...selectors].sort());
    return {
      names: { check: (names) => this.#checkNames(names) },
      openStream: () => this.#openStream(this.#caller(key)),
      takeBytes: (count) => this.#take('bytes', this.#caller(key).bytes, count),
      takeRequest: () => this.#take('requests', this.#caller(key).requests, 1),
    };
  }

  #caller(key: string): CallerState {
    const known = this.#callers.get(key);
    if (known !== undefined) return known;
    const { requestsPerSecond, requestBytesPerSecond } = this.#limits;
    const now = this.#now();
    const caller: CallerState = {
      streams: 0,
      requests: new TokenBucket({ perSecond: requestsPerSecond, level: requestsPerSecond, now }),
      bytes: new TokenBucket({
        perSecond: requestBytesPerSecond,
        level: BYTES_BURST_SECONDS * requestBytesPerSecond,
        now,
      }),
    };
    this.#callers.set(key, caller);
    return caller;
  }

  #openStream(caller: CallerState): Disposable {
    const { streams } = this.#limits;
    if (caller.streams >= streams) throw this.#refusal('streams', `more than ${streams} open streams`);
    caller.streams += 1;
    caller.requests.grant(REQUESTS_PER_STREAM, this.#now());
    let isOpen = true;
    return {
      [Symbol.dispose]: () => {
        if (!isOpen) return;
        isOpen = false;
        caller.streams -= 1;
        caller.requests.grant(-REQUESTS_PER_STREAM, this.#now());
      },
    };
  }

  #take(limit: 'requests' | 'bytes', bucket: TokenBucket, count: number): void {
    if (bucket.take(count, this.#now())) return;
    const { requestsPerSecond, requestBytesPerSecond } = this.#limits;
    const text =
      limit === 'requests'
        ? `more than ${requestsPerSecond} requests a second`
        : `requests of more than ${requestBytesPerSecond} bytes a second`;
    throw this.#refusal(limit, text);
  }

  #checkNames({ count, longest, total }: FieldTally): void {
    const { namesPerStream } = this.#limits;
    const maxTotal = Math.max(MIN_TOTAL_BYTES, namesPerStream * BYTES_PER_NAME);
    if (count > namesPerStream) throw this.#refusal('names', `more than ${namesPerStream} resource names`);
    if (longest > MAX_NAME_BYTES) {
      throw this.#refusal('names', `a resource name is longer than ${MAX_NAME_BYTES} bytes`);
    }
    if (total > maxTotal) throw this.#refusal('names', `resource names are longer than ${maxTotal} bytes together`);
  }

  #refusal(limit: Limit, text: string): SvidgateError {
    this.#metrics.count('svidgate_sds_refusals_total', { limit });
    return new SvidgateError('overloaded', text);
  }

  /** A caller that still owes what it spent is kept, else it would only have to come again. */
  #sweep(): void {
    const now = this.#now();
    if (now - this.#sweptAt < SWEEP_INTERVAL_MS) return;
    this.#sweptAt = now;
    for (const [key, { streams, requests, bytes }] of this.#callers) {
      if (streams === 0 && requests.isFull(now) && bytes.isFull(now)) this.#callers.delete(key);
    }
  }
}
