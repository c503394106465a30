import type { AuditCaller } from '../core/index.ts';
import type { Selector } from '../spiffe/index.ts';
import type { CallerIdentity } from './caller-identity.ts';
import { CallerWatch, type CallerSources } from './caller-watch.ts';
import type { SlotTable } from './slot-table.ts';

/**
 * One watch for all callers with the same selectors, since they hold the same: a change is looked at once, however many
 * streams they have. The watch ends with the last of them.
 */
export class CallerWatches {
  readonly #sources: CallerSources;
  readonly #slots: SlotTable;
  readonly #watches = new Map<string, SharedWatch>();
  readonly #keys = new WeakMap<ReadonlySet<Selector>, string>();

  constructor(sources: CallerSources, slots: SlotTable) {
    this.#sources = sources;
    this.#slots = slots;
  }

  /** Yields what the caller holds now, then anew after each change, until the signal is aborted. */
  async *follow(
    selectors: ReadonlySet<Selector>,
    signal: AbortSignal,
    caller: AuditCaller | undefined,
  ): AsyncGenerator<CallerIdentity, void, void> {
    if (signal.aborted) return;
    const key = this.#keyOf(selectors);
    const known = this.#watches.get(key);
    const shared = known ?? new SharedWatch(new CallerWatch(this.#sources, this.#slots, selectors));
    if (known === undefined) this.#watches.set(key, shared);
    const follower = new Follower();
    shared.join(follower, caller);
    signal.addEventListener('abort', follower.wake);
    try {
      while (!signal.aborted) {
        shared.assertGoesOn();
        const identity = follower.take();
        if (identity === undefined) await follower.sleep();
        else yield identity;
      }
    } finally {
      signal.removeEventListener('abort', follower.wake);
      if (shared.leave(follower) && this.#watches.get(key) === shared) this.#watches.delete(key);
    }
  }

  /** A connection's streams share one set. */
  #keyOf(selectors: ReadonlySet<Selector>): string {
    const known = this.#keys.get(selectors);
    if (known !== undefined) return known;
    const key = JSON.stringify([...selectors].sort());
    this.#keys.set(selectors, key);
    return key;
  }
}

/** One stream. */
class Follower {
  #next: CallerIdentity | undefined;
  #last: CallerIdentity | undefined;
  #resolve: (() => void) | undefined;

  readonly wake = (): void => this.#resolve?.();

  offer(identity: CallerIdentity): void {
    this.#next = identity;
    if (identity !== this.#last) this.wake();
  }

  /** The newest that it has not been given yet. */
  take(): CallerIdentity | undefined {
    if (this.#next === this.#last) return undefined;
    this.#last = this.#next;
    return this.#last;
  }

  async sleep(): Promise<void> {
    await new Promise<void>((resolve) => (this.#resolve = resolve));
    this.#resolve = undefined;
  }
}

class SharedWatch {
  readonly #watch: CallerWatch;
  readonly #followers = new Set<Follower>();
  readonly #stop = new AbortController();
  #failure: { readonly error: unknown } | undefined;

  constructor(watch: CallerWatch) {
    this.#watch = watch;
    void this.#run();
  }

  join(follower: Follower, caller: AuditCaller | undefined): void {
    this.#followers.add(follower);
    this.#watch.caller = caller;
    const { current } = this.#watch;
    if (current !== undefined) follower.offer(current);
  }

  /** Throws when the watch has failed. */
  assertGoesOn(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Whether that was the last one: the watch has ended. */
  leave(follower: Follower): boolean {
    this.#followers.delete(follower);
    if (this.#followers.size > 0) return false;
    this.#stop.abort(NOBODY_LEFT);
    return true;
  }

  async #run(): Promise<void> {
    try {
      await this.#watch.run(this.#stop.signal, (identity) => {
        for (const follower of this.#followers) follower.offer(identity);
      });
    } catch (error) {
      this.#failure = { error };
      for (const { wake } of this.#followers) wake();
    }
  }
}

/** With a trace of its own for each it would cost more than the rest. */
const NOBODY_LEFT = new Error('nobody follows any more');
