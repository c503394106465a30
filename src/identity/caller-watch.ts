import { untilAborted, type AuditCaller, type Clock, type ReadonlyWatchable } from '../core/index.ts';
import type { ForeignBundles, RegistrationEntry, Selector, SpiffeId, TrustBundle } from '../spiffe/index.ts';
import {
  foreignBundlesFor,
  sameIdentity,
  type CallerIdentity,
  type HeldSvid,
  type PendingSvid,
} from './caller-identity.ts';
import { withUniqueHints } from './hints.ts';
import { slotKey, type SlotTable } from './slot-table.ts';
import type { SvidSlot } from './svid-slot.ts';

/** What decides which identities a caller has. */
export interface CallerSources {
  readonly entries: ReadonlyWatchable<{
    match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[];
    /** Absent: nobody is known by a certificate. */
    ofSpiffeId?(id: SpiffeId): readonly RegistrationEntry[];
    /** Whether `match` may give this caller something else than before the last change. */
    concerns(selectors: ReadonlySet<Selector>): boolean;
  }>;
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
  readonly revocations: ReadonlyWatchable<{ hasSerial(serial: string): boolean; hasSpiffeId(id: SpiffeId): boolean }>;
  readonly clock: Clock;
}

/** The entries that give this caller something now: those that match, less revoked SPIFFE IDs. */
export function entriesOf(selectors: ReadonlySet<Selector>, sources: CallerSources): readonly RegistrationEntry[] {
  return withoutRevoked(sources.entries.value.match(selectors), sources);
}

/** The entries that give this SPIFFE ID now; none when it is revoked. */
export function entriesOfId(spiffeId: SpiffeId, sources: CallerSources): readonly RegistrationEntry[] {
  return withoutRevoked(sources.entries.value.ofSpiffeId?.(spiffeId) ?? [], sources);
}

function withoutRevoked(
  entries: readonly RegistrationEntry[],
  { revocations }: CallerSources,
): readonly RegistrationEntry[] {
  return entries.filter(({ spiffeId }) => !revocations.value.hasSpiffeId(spiffeId));
}

function pendingOf({ spiffeId, hint }: RegistrationEntry, isDefault: boolean, isFirstOfHint: boolean): PendingSvid {
  return hint !== undefined && isFirstOfHint ? { spiffeId, isDefault, hint } : { spiffeId, isDefault };
}

interface Held {
  readonly slot: SvidSlot;
  readonly unsubscribe: () => void;
}

/** Long for a key that is at hand, short for one that is asked for over a network. */
const MOMENT_MS = 20;

/** A reason of its own for each of a thousand callers would cost more than all else that a change makes them do. */
const ISSUED = new Error('the identities have been issued');

/** The slots that callers with these selectors hold, adjusted to the entries that match them. */
export class CallerWatch {
  readonly #sources: CallerSources;
  readonly #slots: SlotTable;
  readonly #selectors: ReadonlySet<Selector>;
  readonly #held = new Map<string, Held>();
  #caller: AuditCaller | undefined;
  #changed = true;
  #isLooking = false;
  #wake: (() => void) | undefined;
  /** Ends the waiting for SVIDs that are being issued. */
  #hurry: (() => void) | undefined;
  #told: CallerIdentity | undefined;
  /** Whether something that matches was not given at the last look: it is revoked, or not signed yet. */
  #isLacking = false;

  constructor(sources: CallerSources, slots: SlotTable, selectors: ReadonlySet<Selector>) {
    this.#sources = sources;
    this.#slots = slots;
    this.#selectors = selectors;
  }

  /** What they hold; the same object until it changes. Undefined while a change is looked at: it may take something away. */
  get current(): CallerIdentity | undefined {
    if (this.#changed || this.#isLooking || this.#told === undefined) return undefined;
    const now = this.#sources.clock.now();
    if (this.#told.svids.every(({ svid }) => now < svid.notAfter)) return this.#told;
    this.#changed = true; // nobody tells of an SVID that has ended while it cannot be replaced
    this.#wake?.();
    return undefined;
  }

  /** Whom the audit log names for what is issued from now on. */
  set caller(caller: AuditCaller | undefined) {
    this.#caller = caller;
    for (const { slot } of this.#held.values()) slot.caller = caller;
  }

  /**
   * Gives what they hold after each change, until the signal is aborted. What was taken away while something else was
   * being signed is not in it.
   */
  async run(signal: AbortSignal, onLooked: (identity: CallerIdentity) => void): Promise<void> {
    const notify = (): void => {
      this.#changed = true;
      this.#wake?.();
      if (this.#hurry !== undefined && (signal.aborted || this.#holdsTooMuch())) this.#hurry();
    };
    const { entries, bundle, foreignBundles, revocations } = this.#sources;
    const unsubscribe = [bundle, foreignBundles].map((source) => source.subscribe(notify));
    // Of ten thousand callers one change concerns a few.
    unsubscribe.push(entries.subscribe((snapshot) => snapshot.concerns(this.#selectors) && notify()));
    unsubscribe.push(revocations.subscribe((snapshot) => this.#isConcernedBy(snapshot) && notify()));
    signal.addEventListener('abort', notify);
    try {
      while (!signal.aborted) {
        if (!this.#changed) {
          await new Promise<void>((resolve) => (this.#wake = resolve));
          this.#wake = undefined;
          continue;
        }
        this.#changed = false;
        this.#isLooking = true;
        const identity = await this.#identity(notify, signal);
        this.#isLooking = false;
        if (signal.aborted) return;
        if (this.#told === undefined || !sameIdentity(this.#told, identity)) this.#told = identity;
        onLooked(this.#told);
      }
    } finally {
      signal.removeEventListener('abort', notify);
      for (const stop of unsubscribe) stop();
      for (const key of this.#held.keys()) this.#release(key);
    }
  }

  async #identity(notify: () => void, signal: AbortSignal): Promise<CallerIdentity> {
    const { bundle, foreignBundles } = this.#sources;
    const entries = entriesOf(this.#selectors, this.#sources);
    const wanted = new Map(entries.map((entry) => [slotKey(entry), entry]));
    for (const key of this.#held.keys()) if (!wanted.has(key)) this.#release(key);
    const issued = Promise.all([...wanted].map(([key, entry]) => this.#hold(key, entry, notify)));
    const done = new AbortController();
    await Promise.race([issued, this.#patience(done.signal, signal)]);
    done.abort(ISSUED);
    this.#hurry = undefined;
    const matching = this.#sources.entries.value.match(this.#selectors);
    const left = withoutRevoked(matching, this.#sources).filter((entry) => wanted.has(slotKey(entry)));
    const firstOfHint = new Set(withUniqueHints(left));
    const found = left.map(
      (entry, index) => this.#svidOf(entry) ?? pendingOf(entry, index === 0, firstOfHint.has(entry)),
    );
    const pending = found.filter((one) => 'isDefault' in one);
    this.#isLacking = pending.length > 0 || left.length < matching.length;
    return {
      svids: found.filter((one) => 'svid' in one),
      pending,
      bundle: bundle.value,
      foreignBundles: foreignBundlesFor(left, foreignBundles.value),
    };
  }

  /** What is taken away is not kept until something else has been signed, unless that takes a moment only. */
  async #patience(issued: AbortSignal, signal: AbortSignal): Promise<void> {
    if (!this.#holdsTooMuch()) await new Promise<void>((resolve) => (this.#hurry = resolve));
    if (issued.aborted) return;
    const over = AbortSignal.any([issued, signal]);
    await untilAborted(over, this.#sources.clock.sleep(MOMENT_MS, over));
  }

  /** Whether these revocations may give or take something: while a look is under way, or something is lacking, any may. */
  #isConcernedBy(revocations: CallerSources['revocations']['value']): boolean {
    if (this.#changed || this.#isLooking || this.#isLacking || this.#told === undefined) return true;
    return this.#told.svids.some(
      ({ svid }) => revocations.hasSerial(svid.serial) || revocations.hasSpiffeId(svid.spiffeId),
    );
  }

  /** Whether the caller was told of a SPIFFE ID that it has no right to any more. */
  #holdsTooMuch(): boolean {
    if (this.#told === undefined) return false;
    const given = new Set(entriesOf(this.#selectors, this.#sources).map(({ spiffeId }) => spiffeId));
    return this.#told.svids.some(({ svid }) => !given.has(svid.spiffeId));
  }

  /** Looks again: revocations and the clock may have moved on while SVIDs were being issued. */
  #svidOf(entry: RegistrationEntry): HeldSvid | undefined {
    const { entryId, hint } = entry;
    const svid = this.#held.get(slotKey(entry))?.slot.svid.value;
    const revocations = this.#sources.revocations.value;
    if (svid === undefined || svid.notAfter <= this.#sources.clock.now()) return undefined;
    if (revocations.hasSerial(svid.serial)) return undefined;
    return { svid, entryId, ...(hint === undefined ? {} : { hint }) };
  }

  async #hold(key: string, entry: RegistrationEntry, notify: () => void): Promise<void> {
    const held = this.#held.get(key);
    if (held !== undefined) return held.slot.settled();
    const slot = this.#slots.slotFor(entry);
    this.#held.set(key, { slot, unsubscribe: slot.svid.subscribe(notify) });
    await slot.hold(this.#caller);
  }

  #release(key: string): void {
    const held = this.#held.get(key);
    this.#held.delete(key);
    held?.unsubscribe();
    held?.slot.release();
  }
}
