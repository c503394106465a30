import type { Clock, Logger, ReadonlyWatchable } from '../core/index.ts';
import type { RegistrationEntry, Selector, TrustBundle, X509Svid } from '../spiffe/index.ts';
import { SvidSlot, type SvidIssuer } from './svid-slot.ts';

/** What one caller holds at a moment. */
export interface CallerIdentity {
  /** One for each SPIFFE ID, in the order of entry ids; the first is the default. Empty: the caller is not registered. */
  readonly svids: readonly X509Svid[];
  /** The trust domain's own bundle, for callers that hold an SVID. */
  readonly bundle: TrustBundle;
}

export interface IdentitySourceOptions {
  readonly issuer: SvidIssuer;
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly entries: ReadonlyWatchable<{
    match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[];
  }>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1; for the jitter of rotations. */
  readonly random?: () => number;
}

export interface IdentitySource {
  /** Yields what the caller holds now, then anew after each change of its SVIDs, entries or bundle, until the signal is aborted. */
  watch(selectors: ReadonlySet<Selector>, signal: AbortSignal): AsyncGenerator<CallerIdentity, void, void>;
}

export function createIdentitySource(options: IdentitySourceOptions): IdentitySource {
  const slots = new SlotTable(options);
  return {
    async *watch(selectors, signal) {
      const caller = new CallerWatch(options, slots, selectors);
      try {
        yield* caller.changes(signal);
      } finally {
        caller.close();
      }
    },
  };
}

/** One slot for each entry in use. */
class SlotTable {
  readonly #options: IdentitySourceOptions;
  readonly #slots = new Map<string, SvidSlot>();

  constructor(options: IdentitySourceOptions) {
    this.#options = options;
  }

  slotFor(entry: RegistrationEntry): SvidSlot {
    for (const [key, slot] of this.#slots) if (slot.isIdle) this.#slots.delete(key);
    const key = slotKey(entry);
    const found = this.#slots.get(key);
    if (found !== undefined) return found;
    const { issuer, clock, logger, random = Math.random } = this.#options;
    const slot = new SvidSlot({ entry, issuer, clock, logger, random });
    this.#slots.set(key, slot);
    return slot;
  }
}

/** An entry whose identity or lifetime was edited gets a slot, and so an SVID, of its own. */
function slotKey(entry: RegistrationEntry): string {
  return JSON.stringify([entry.entryId, entry.spiffeId, entry.x509SvidTtlMs ?? null]);
}

interface Held {
  readonly slot: SvidSlot;
  readonly unsubscribe: () => void;
}

/** The slots one caller holds, adjusted to the entries that match it. */
class CallerWatch {
  readonly #options: IdentitySourceOptions;
  readonly #slots: SlotTable;
  readonly #selectors: ReadonlySet<Selector>;
  readonly #held = new Map<string, Held>();
  #changed = true;
  #wake: (() => void) | undefined;

  constructor(options: IdentitySourceOptions, slots: SlotTable, selectors: ReadonlySet<Selector>) {
    this.#options = options;
    this.#slots = slots;
    this.#selectors = selectors;
  }

  async *changes(signal: AbortSignal): AsyncGenerator<CallerIdentity, void, void> {
    const notify = (): void => {
      this.#changed = true;
      this.#wake?.();
    };
    const unsubscribe = [this.#options.entries.subscribe(notify), this.#options.bundle.subscribe(notify)];
    signal.addEventListener('abort', notify);
    let last: CallerIdentity | undefined;
    try {
      while (!signal.aborted) {
        if (this.#changed) {
          this.#changed = false;
          const identity = await this.#identity(notify);
          if (signal.aborted || (last !== undefined && sameIdentity(last, identity))) continue;
          last = identity;
          yield identity;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
          this.#wake = undefined;
        }
      }
    } finally {
      signal.removeEventListener('abort', notify);
      for (const stop of unsubscribe) stop();
    }
  }

  close(): void {
    for (const key of this.#held.keys()) this.#release(key);
  }

  async #identity(notify: () => void): Promise<CallerIdentity> {
    const entries = firstOfEachId(this.#options.entries.value.match(this.#selectors));
    const wanted = new Map(entries.map((entry) => [slotKey(entry), entry]));
    for (const key of this.#held.keys()) if (!wanted.has(key)) this.#release(key);
    await Promise.all([...wanted].map(([key, entry]) => this.#hold(key, entry, notify)));
    const svids = [...wanted.keys()]
      .flatMap((key) => this.#held.get(key)?.slot.svid.value ?? [])
      .filter((svid) => svid.notAfter > this.#options.clock.now());
    return { svids, bundle: this.#options.bundle.value };
  }

  async #hold(key: string, entry: RegistrationEntry, notify: () => void): Promise<void> {
    if (this.#held.has(key)) return;
    const slot = this.#slots.slotFor(entry);
    this.#held.set(key, { slot, unsubscribe: slot.svid.subscribe(notify) });
    await slot.hold();
  }

  #release(key: string): void {
    const held = this.#held.get(key);
    this.#held.delete(key);
    held?.unsubscribe();
    held?.slot.release();
  }
}

/** Two entries may give the same SPIFFE ID; Envoy must see one secret for it. */
function firstOfEachId(entries: readonly RegistrationEntry[]): readonly RegistrationEntry[] {
  const seen = new Set<string>();
  return entries.filter((entry) => !seen.has(entry.spiffeId) && seen.add(entry.spiffeId));
}

function sameIdentity(one: CallerIdentity, other: CallerIdentity): boolean {
  return (
    one.bundle === other.bundle &&
    one.svids.length === other.svids.length &&
    one.svids.every((svid, index) => svid === other.svids[index])
  );
}
