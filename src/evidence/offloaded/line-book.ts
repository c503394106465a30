/** As it is kept over a restart of svidgate. */
export interface SavedLine {
  readonly base: number;
  readonly before: number;
  readonly last: number | undefined;
  readonly received: number;
}

/** What Envoy says at one moment. */
export interface Counted {
  /** Its counter, which begins anew when it is reset. */
  readonly value: number;
  /** When, by its clock, epoch milliseconds. */
  readonly at: number;
  /** Requests that it had begun and not ended, which are counted and logged at their end; undefined where it does not say. */
  readonly active?: number | undefined;
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

/** Of one Envoy, one policy and one answer: how many requests it counted, and how many records came. */
export class LineBook {
  /** The counter where the book begins. */
  #base = 0;
  /** What the counter came to before it was reset. */
  #before = 0;
  #last: number | undefined;
  #received = 0;
  /** Of the newest ones, by when their request came. */
  readonly #buckets = new Map<number, number>();
  #pending: Counted[] = [];
  #settled: Counted | undefined;

  constructor(saved?: SavedLine) {
    if (saved === undefined) return;
    this.#base = saved.base;
    this.#before = saved.before;
    this.#last = saved.last;
    this.#received = saved.received;
  }

  get saved(): SavedLine {
    return { base: this.#base, before: this.#before, last: this.#last, received: this.#received };
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

  /** @param isWhole whether the counter began when the book did; else what it says first is from before. */
  count({ value, at, active }: Counted, isWhole: boolean): void {
    if (this.#last === undefined && !isWhole) this.#base = value - this.#receivedBefore(at);
    else if (this.#last !== undefined && value < this.#last) this.#before += this.#last;
    this.#last = value;
    this.#pending.push({ value: this.#before + value - this.#base, at, active });
    if (this.#pending.length > MAX_PENDING) this.#pending.splice(1, 1);
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

  get #counted(): number | undefined {
    return this.#last === undefined ? undefined : this.#before + this.#last - this.#base;
  }

  #receivedBefore(at: number): number {
    const first = Math.floor(at / BUCKET_MS) + 1;
    let later = 0;
    for (const [bucket, count] of this.#buckets) if (bucket >= first) later += count;
    return this.#received - later;
  }
}
