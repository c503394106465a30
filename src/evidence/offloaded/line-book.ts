/** As it is kept over a restart of svidgate. */
export interface SavedLine {
  readonly counted: number | undefined;
  readonly received: number;
  /** What each counter said last. */
  readonly counters: Readonly<Record<string, number>>;
}

/** What Envoy says at one moment. */
export interface Counted {
  /** Name of the counter: one of each listener. */
  readonly stat: string;
  /** Begins anew when it is reset. */
  readonly value: number;
  /** When, by Envoy's clock, epoch milliseconds. */
  readonly at: number;
  /** Whether the counter began when the book did; else what it says first is from before. */
  readonly isWhole: boolean;
}

interface Pending {
  readonly value: number;
  readonly at: number;
  /** Requests that Envoy had begun and not ended, which are counted and logged at their end; undefined where it did not say. */
  active?: number;
}

export interface LineStatus {
  readonly received: number;
  /** Requests since the book was opened, by Envoy's own counter; undefined while Envoy does not tell it. */
  readonly counted: number | undefined;
  /** Records that are missing for certain; undefined while that cannot be told. */
  readonly lost: number | undefined;
}

const BUCKET_MS = 20;
const MAX_BUCKETS = 2048;
/** By then a request that has ended is in the log: Envoys send what they have at least once a second. */
const SETTLE_MS = 3000;
const MAX_PENDING = 64;
const MAX_COUNTERS = 100;

/** Of one Envoy, one policy and one answer: how many requests it counted, and how many records came. */
export class LineBook {
  /** By each counter; what it said last is not told by the sum, which goes on when one is reset or goes away. */
  readonly #counters = new Map<string, number>();
  #counted: number | undefined;
  #received = 0;
  /** Of the newest ones, by when their request came. */
  readonly #buckets = new Map<number, number>();
  readonly #pending: Pending[] = [];
  #settled: Pending | undefined;

  constructor(saved?: SavedLine) {
    if (saved === undefined) return;
    this.#counted = saved.counted;
    this.#received = saved.received;
    this.#counters = new Map(Object.entries(saved.counters));
  }

  get saved(): SavedLine {
    return { counted: this.#counted, received: this.#received, counters: Object.fromEntries(this.#counters) };
  }

  /** A record of a request that came at this time, by Envoy's clock. */
  receive(at: number): void {
    this.#received += 1;
    const bucket = Math.floor(at / BUCKET_MS);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
    if (this.#buckets.size <= MAX_BUCKETS) return;
    const oldest = Math.max(...this.#buckets.keys()) - MAX_BUCKETS / 2;
    for (const key of this.#buckets.keys()) if (key < oldest) this.#buckets.delete(key);
  }

  count({ stat, value, at, isWhole }: Counted): void {
    const last = this.#counters.get(stat);
    if (last === undefined && this.#counters.size >= MAX_COUNTERS) return;
    this.#counters.set(stat, value);
    if (last !== undefined) this.#counted = (this.#counted ?? 0) + (value < last ? value : value - last);
    else if (isWhole) this.#counted = (this.#counted ?? 0) + value;
    else this.#counted ??= this.#receivedBefore(at);
    const newest = this.#pending.at(-1);
    if (newest?.at === at) this.#pending.pop();
    this.#pending.push({ ...(newest?.at === at ? newest : {}), value: this.#counted ?? 0, at });
    if (this.#pending.length > MAX_PENDING) this.#pending.splice(1, 1);
  }

  /** How many requests Envoy was answering at a time that it tells counters of. */
  countActive(at: number, active: number): void {
    const newest = this.#pending.at(-1);
    if (newest?.at === at) newest.active = active;
  }

  /** @param now by the clock of `count` */
  status(now: number): LineStatus {
    while ((this.#pending[0]?.at ?? Infinity) <= now - SETTLE_MS) this.#settled = this.#pending.shift();
    return { received: this.#received, counted: this.#counted, lost: this.#lost() };
  }

  /** The Envoy has ended: nothing comes any more. */
  end(): LineStatus {
    const counted = this.#counted;
    const lost = counted === undefined ? undefined : Math.max(0, counted - this.#received);
    return { received: this.#received, counted, lost };
  }

  /** Never more than there are: what came in the same moment counts as received before it. */
  #lost(): number | undefined {
    const { value, at, active = Infinity } = this.#settled ?? { value: 0, at: 0 };
    return active === Infinity ? undefined : Math.max(0, value - active - this.#receivedBefore(at));
  }

  #receivedBefore(at: number): number {
    const first = Math.floor(at / BUCKET_MS) + 1;
    let later = 0;
    for (const [bucket, count] of this.#buckets) if (bucket >= first) later += count;
    return this.#received - later;
  }
}
