import { SvidgateError, type Metrics } from '../core/index.ts';
import type { Selector } from '../spiffe/index.ts';
import type { FieldTally } from './request-tally.ts';
import { TokenBucket } from './token-bucket.ts';

/** What one caller may use: all processes with the same selectors together. */
export interface DiscoveryLimits {
  readonly streams: number;
  readonly namesPerStream: number;
  /** Requests other than replies to what was sent, one of many names counts several times. As many at once, and two more for each open stream. */
  readonly requestsPerSecond: number;
  /** Of all requests. Four times as many at once. */
  readonly requestBytesPerSecond: number;
}

export interface CallerLimitsOptions {
  readonly limits: DiscoveryLimits;
  readonly metrics: Metrics;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** Bounds the names of one stream. */
export interface NameLimit {
  /** Throws `overloaded`. */
  check(names: FieldTally): void;
}

/** A stream that counts until it is disposed. */
export interface CountedStream extends Disposable {
  /** How many names it asks for from now on. Throws `overloaded`. */
  hold(names: number): void;
}

/** What one caller may use at present. */
export interface CallerAllowance {
  readonly names: NameLimit;
  /** Throws `overloaded`. */
  openStream(): CountedStream;
  /** Throws `overloaded`. */
  takeBytes(count: number): void;
  /** `names`: how many it has, since each is work. Throws `overloaded`. */
  takeRequest(names?: number): void;
}

const MAX_NAME_BYTES = 2300; // a SPIFFE ID has at most 2048, with room for prefixes
/** Of all names together, for each that is allowed: they are kept for as long as the stream lives. */
const BYTES_PER_NAME = 256;
const MIN_TOTAL_BYTES = 256 * 1024;

/** Of all streams of a caller: many streams ask for few names each, a few may ask for many. */
const NAMES_PER_STREAM = 4;
const STREAMS_OF_MANY_NAMES = 8;
/** This many names more are the work of one request more. */
const NAMES_PER_REQUEST = 20;

const REQUESTS_PER_STREAM = 2;
const BYTES_BURST_SECONDS = 4;
/** How often callers that are gone are forgotten. */
const SWEEP_INTERVAL_MS = 1000;

type Limit = 'streams' | 'names' | 'requests' | 'bytes';

interface CallerState {
  streams: number;
  /** Of all streams. */
  names: number;
  readonly requests: TokenBucket;
  readonly bytes: TokenBucket;
}

/** The limits of all callers. A caller that is gone is forgotten as soon as it could do all again that it may. */
export class CallerLimits {
  readonly #limits: DiscoveryLimits;
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
      takeRequest: (names = 0) => this.#takeRequest(this.#caller(key).requests, names),
    };
  }

  #caller(key: string): CallerState {
    const known = this.#callers.get(key);
    if (known !== undefined) return known;
    const { requestsPerSecond, requestBytesPerSecond } = this.#limits;
    const now = this.#now();
    const caller: CallerState = {
      streams: 0,
      names: 0,
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

  #openStream(caller: CallerState): CountedStream {
    const { streams } = this.#limits;
    if (caller.streams >= streams) throw this.#refusal('streams', `more than ${streams} open streams`);
    caller.streams += 1;
    caller.requests.grant(REQUESTS_PER_STREAM, this.#now());
    let isOpen = true;
    let held = 0;
    return {
      hold: (names) => {
        if (!isOpen) return;
        this.#checkTotal(caller.names + names - held);
        caller.names += names - held;
        held = names;
      },
      [Symbol.dispose]: () => {
        if (!isOpen) return;
        isOpen = false;
        caller.streams -= 1;
        caller.names -= held;
        caller.requests.grant(-REQUESTS_PER_STREAM, this.#now());
      },
    };
  }

  /** A large one is taken as soon as any is, and paid for by the next ones. */
  #takeRequest(bucket: TokenBucket, names: number): void {
    this.#take('requests', bucket, 1);
    const more = Math.min(this.#limits.requestsPerSecond, Math.floor(names / NAMES_PER_REQUEST));
    bucket.owe(more, this.#now());
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

  #checkTotal(names: number): void {
    const { streams, namesPerStream } = this.#limits;
    const most = NAMES_PER_STREAM * streams + STREAMS_OF_MANY_NAMES * namesPerStream;
    if (names > most) throw this.#refusal('names', `more than ${most} resource names on all open streams`);
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
