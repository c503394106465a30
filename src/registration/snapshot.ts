import type { RegisteredEntry, RegistrationEntry, Selector, SpiffeId } from '../spiffe/index.ts';
import { BucketMap } from './bucket-map.ts';
import { GroupMap } from './group-map.ts';
import { changeSorted } from './sorted-list.ts';

/** The entries in force at one moment. Never changes, save that entries end at their time. */
export interface RegistrySnapshot {
  /** Sorted by entry id, expired ones included. */
  readonly entries: readonly RegistrationEntry[];
  /**
   * The old and the new versions of what differs from the snapshot before this one; entries that have expired since are
   * among them. An unchanged entry is the same object in both snapshots.
   */
  readonly changed: readonly RegistrationEntry[];
  /**
   * The entries whose selectors the caller has all of: those of the file by entry id, then those of the API by when they were
   * made, so that a new entry never takes the first place from an older one. Neither those that have expired, to the
   * millisecond, nor those with `storeSvid`.
   */
  match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[];
  /**
   * Whether `match` may give this caller something else than in the snapshot before. Watching callers ask this on each
   * change, since it costs far less than a match: well under a microsecond for a single changed entry.
   */
  concerns(selectors: ReadonlySet<Selector>): boolean;
  /** The entries that give this SPIFFE ID, as `match` has them. */
  ofSpiffeId(id: SpiffeId): readonly RegistrationEntry[];
  /** Whether any entry that has not expired gives this SPIFFE ID. */
  hasSpiffeId(id: SpiffeId): boolean;
}

/** Above it, changed entries are found by their selectors rather than one after the other. */
const MAX_SCANNED = 16;

interface SnapshotState {
  /** Sorted by entry id. */
  readonly registered: readonly RegisteredEntry[];
  /** Those that expire, in the order in which they do. */
  readonly expiring: readonly RegisteredEntry[];
  readonly byId: BucketMap<IndexedEntry>;
  readonly bySpiffeId: GroupMap<RegistrationEntry>;
  readonly bySelector: GroupMap<RegistrationEntry>;
  readonly changed: readonly RegistrationEntry[];
  readonly now: () => number;
}

interface IndexedEntry {
  readonly registered: RegisteredEntry;
  /** The one of its selectors that it stands under; undefined when no caller can match it. */
  readonly under: Selector | undefined;
}

/** The registry's own view of a snapshot, and the way to the next one. */
export class EntriesSnapshot implements RegistrySnapshot {
  readonly #state: SnapshotState;
  #entries: readonly RegistrationEntry[] | undefined;
  #changedBySelector: GroupMap<RegistrationEntry> | undefined;

  private constructor(state: SnapshotState) {
    this.#state = state;
  }

  static empty(now: () => number): EntriesSnapshot {
    return new EntriesSnapshot({
      registered: [],
      expiring: [],
      byId: new BucketMap(),
      bySpiffeId: new GroupMap(),
      bySelector: new GroupMap(),
      changed: [],
      now,
    });
  }

  get registered(): readonly RegisteredEntry[] {
    return this.#state.registered;
  }

  get expiring(): readonly RegisteredEntry[] {
    return this.#state.expiring;
  }

  get changed(): readonly RegistrationEntry[] {
    return this.#state.changed;
  }

  get entries(): readonly RegistrationEntry[] {
    return (this.#entries ??= this.#state.registered.map(({ entry }) => entry));
  }

  find(entryId: string): RegisteredEntry | undefined {
    return this.#state.byId.get(entryId)?.registered;
  }

  givingSpiffeId(id: SpiffeId): readonly RegistrationEntry[] {
    return this.#state.bySpiffeId.get(id);
  }

  hasSpiffeId(id: SpiffeId): boolean {
    const now = this.#state.now();
    return this.#state.bySpiffeId.get(id).some((entry) => isLive(entry, now));
  }

  ofSpiffeId(id: SpiffeId): readonly RegistrationEntry[] {
    const now = this.#state.now();
    return this.#state.bySpiffeId
      .get(id)
      .filter((entry) => isLive(entry, now) && entry.storeSvid !== true)
      .sort((a, b) => this.#ageOf(a) - this.#ageOf(b) || byEntryId(a, b));
  }

  match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[] {
    const now = this.#state.now();
    return allUnder(this.#state.bySelector, selectors)
      .filter((entry) => isLive(entry, now) && hasAll(selectors, entry))
      .sort((a, b) => this.#ageOf(a) - this.#ageOf(b) || byEntryId(a, b));
  }

  /** Entries of the file first, those of the API by when they were made: what is added later displaces nobody's default. */
  #ageOf({ entryId }: RegistrationEntry): number {
    const registered = this.find(entryId);
    return registered === undefined || registered.source === 'file' ? 0 : registered.createdAt;
  }

  concerns(selectors: ReadonlySet<Selector>): boolean {
    const { changed } = this.#state;
    if (changed.length <= MAX_SCANNED) return changed.some((entry) => hasAll(selectors, entry));
    this.#changedBySelector ??= groupBySelector(changed);
    return allUnder(this.#changedBySelector, selectors).some((entry) => hasAll(selectors, entry));
  }

  /** With these entries in place of those with their ids; undefined removes. */
  with(changes: ReadonlyMap<string, RegisteredEntry | undefined>): EntriesSnapshot {
    const state = this.#state;
    const bySpiffeId = state.bySpiffeId.edit();
    const bySelector = state.bySelector.edit();
    const changed: RegistrationEntry[] = [];
    const old = [...changes.keys()].flatMap((entryId) => state.byId.get(entryId) ?? []);
    for (const { registered, under } of old) {
      changed.push(registered.entry);
      bySpiffeId.remove(registered.entry.spiffeId, registered.entry);
      if (under !== undefined) bySelector.remove(under, registered.entry);
    }
    const byId = new Map<string, IndexedEntry | undefined>();
    for (const [entryId, registered] of changes) {
      const under = registered && placeOf(registered.entry, bySelector);
      byId.set(entryId, registered && { registered, under });
      if (registered === undefined) continue;
      changed.push(registered.entry);
      bySpiffeId.add(registered.entry.spiffeId, registered.entry);
      if (under !== undefined) bySelector.add(under, registered.entry);
    }
    const added = [...changes.values()].filter((registered) => registered !== undefined);
    const removed = old.map(({ registered }) => registered);
    return new EntriesSnapshot({
      ...state,
      registered: changeSorted(state.registered, { removed, added, compare: byRegisteredId }),
      expiring: changeSorted(state.expiring, {
        removed: removed.filter(expires),
        added: added.filter(expires),
        compare: byExpiry,
      }),
      byId: state.byId.with(byId),
      bySpiffeId: bySpiffeId.done(),
      bySelector: bySelector.done(),
      changed,
    });
  }

  /** The same entries, of which these are what `changed` tells. */
  withChanged(changed: readonly RegistrationEntry[]): EntriesSnapshot {
    return new EntriesSnapshot({ ...this.#state, changed });
  }
}

/** A snapshot of its own, without a registry. */
export function createSnapshot(
  entries: readonly RegistrationEntry[],
  now: () => number = () => Date.now(),
): RegistrySnapshot {
  const registered = entries.map((entry) => ({ entry, source: 'file', revision: 0, createdAt: 0 }) as const);
  return EntriesSnapshot.empty(now).with(new Map(registered.map((one) => [one.entry.entryId, one])));
}

export function byEntryId(a: RegistrationEntry, b: RegistrationEntry): number {
  if (a.entryId === b.entryId) return 0;
  return a.entryId < b.entryId ? -1 : 1;
}

function byRegisteredId({ entry: a }: RegisteredEntry, { entry: b }: RegisteredEntry): number {
  return byEntryId(a, b);
}

export function isLive({ expiresAt }: RegistrationEntry, now: number): boolean {
  return expiresAt === undefined || now < expiresAt;
}

function expires({ entry }: RegisteredEntry): boolean {
  return entry.expiresAt !== undefined;
}

function byExpiry({ entry: a }: RegisteredEntry, { entry: b }: RegisteredEntry): number {
  return (a.expiresAt ?? 0) - (b.expiresAt ?? 0) || byEntryId(a, b);
}

function hasAll(selectors: ReadonlySet<Selector>, entry: RegistrationEntry): boolean {
  return entry.selectors.length > 0 && entry.selectors.every((selector) => selectors.has(selector));
}

function allUnder(index: GroupMap<RegistrationEntry>, selectors: ReadonlySet<Selector>): RegistrationEntry[] {
  return [...selectors].flatMap((selector) => index.get(selector));
}

function groupBySelector(entries: readonly RegistrationEntry[]): GroupMap<RegistrationEntry> {
  const index = new GroupMap<RegistrationEntry>().edit();
  for (const entry of entries) {
    const under = placeOf(entry, index);
    if (under !== undefined) index.add(under, entry);
  }
  return index.done();
}

/**
 * Each entry stands under one of its selectors only, the one that the fewest stand under so far: a caller has few
 * selectors, and one that all entries share (such as `unix:uid:0`) would bring all of them up.
 */
function placeOf(
  { selectors, storeSvid }: RegistrationEntry,
  index: { sizeOf(key: string): number },
): Selector | undefined {
  if (storeSvid === true) return undefined;
  const [first, ...others] = selectors;
  if (first === undefined) return undefined; // the type allows it, checking does not: it must match nobody
  return others.reduce((best, selector) => (index.sizeOf(selector) < index.sizeOf(best) ? selector : best), first);
}
