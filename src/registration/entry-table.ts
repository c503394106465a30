import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RegisteredEntry, RegistrationEntry, SpiffeId } from '../spiffe/index.ts';
import { contentKey, type EntryContent } from './entry-draft.ts';
import { entriesInCircles } from './parent-circles.ts';
import { EntriesSnapshot } from './snapshot.ts';

/** Why an entry cannot stand beside another one. */
export interface Collision {
  readonly kind: 'id' | 'content';
  readonly other: RegisteredEntry;
}

/** What a stage does to one entry: without `before` it is created, without `after` deleted. */
export interface StagedChange {
  readonly entryId: string;
  readonly before: RegisteredEntry | undefined;
  readonly after: RegisteredEntry | undefined;
}

const COMMIT_PAGE = 1000;

/** The entries of all sources, in memory. */
export class EntryTable {
  readonly #idsByContent = new Map<string, string>();
  #snapshot: EntriesSnapshot;

  constructor(now: () => number) {
    this.#snapshot = EntriesSnapshot.empty(now);
  }

  get snapshot(): EntriesSnapshot {
    return this.#snapshot;
  }

  /** Begins a change. One at a time: it counts on the table staying as it is until `commit`. */
  stage(): EntryStage {
    return new EntryStage(this.#snapshot, this.#idsByContent);
  }

  /**
   * Puts a stage in force, all of it at once. What many entries need is built aside in pages of some 10 ms, so that
   * requests are answered meanwhile; a few are in force without a pause.
   */
  async commit(stage: EntryStage): Promise<void> {
    const changes = stage.changes();
    if (changes.length === 0) return;
    let next = this.#snapshot;
    for (let start = 0; start < changes.length; start += COMMIT_PAGE) {
      if (start > 0) await nextTurn();
      const page = changes.slice(start, start + COMMIT_PAGE);
      next = next.with(new Map(page.map(({ entryId, after }) => [entryId, after])));
    }
    for (const [content, entryId] of stage.contents) {
      if (entryId === undefined) this.#idsByContent.delete(content);
      else this.#idsByContent.set(content, entryId);
    }
    this.#snapshot = next.withChanged(
      changes.flatMap(({ before, after }) => [before, after]).flatMap((registered) => registered?.entry ?? []),
    );
  }
}

/** A change on its way: what it stages is seen by itself only. */
export class EntryStage {
  readonly #snapshot: EntriesSnapshot;
  readonly #idsByContent: ReadonlyMap<string, string>;
  readonly #staged = new Map<string, RegisteredEntry | undefined>();
  readonly #stagedContents = new Map<string, string | undefined>();

  constructor(snapshot: EntriesSnapshot, idsByContent: ReadonlyMap<string, string>) {
    this.#snapshot = snapshot;
    this.#idsByContent = idsByContent;
  }

  /** By content, the id of the entry that has it then; undefined when none has. */
  get contents(): ReadonlyMap<string, string | undefined> {
    return this.#stagedContents;
  }

  find(entryId: string): RegisteredEntry | undefined {
    return this.#staged.has(entryId) ? this.#staged.get(entryId) : this.#snapshot.find(entryId);
  }

  /** The entry with the same SPIFFE ID, parent and selectors. */
  findSimilar(entry: EntryContent): RegisteredEntry | undefined {
    const content = contentKey(entry);
    const entryId = this.#stagedContents.has(content)
      ? this.#stagedContents.get(content)
      : this.#idsByContent.get(content);
    return entryId === undefined ? undefined : this.find(entryId);
  }

  /** What keeps a new entry out. */
  collisionOf(entry: RegistrationEntry): Collision | undefined {
    const similar = this.findSimilar(entry);
    if (similar !== undefined) return { kind: 'content', other: similar };
    const sameId = this.find(entry.entryId);
    return sameId === undefined ? undefined : { kind: 'id', other: sameId };
  }

  /** Of an entry that collides with none. */
  add(registered: RegisteredEntry): void {
    this.#staged.set(registered.entry.entryId, registered);
    this.#stagedContents.set(contentKey(registered.entry), registered.entry.entryId);
  }

  remove(entryId: string): void {
    const found = this.find(entryId);
    if (found === undefined) return;
    this.#staged.set(entryId, undefined);
    this.#stagedContents.set(contentKey(found.entry), undefined);
  }

  /** Those of the staged entries that make parents a circle. */
  inCircles(): readonly RegistrationEntry[] {
    const staged = [...this.#staged.values()].flatMap((registered) => registered?.entry ?? []);
    const giving = Map.groupBy(staged, ({ spiffeId }) => spiffeId);
    const entriesGiving = (id: SpiffeId): readonly RegistrationEntry[] => [
      ...this.#snapshot.givingSpiffeId(id).filter(({ entryId }) => !this.#staged.has(entryId)),
      ...(giving.get(id) ?? []),
    ];
    return entriesInCircles(staged, entriesGiving);
  }

  /** What differs from the table; what was removed and added again as it was does not. */
  changes(): readonly StagedChange[] {
    const changes: StagedChange[] = [];
    for (const [entryId, after] of this.#staged) {
      const before = this.#snapshot.find(entryId);
      if (before !== after) changes.push({ entryId, before, after });
    }
    return changes;
  }
}
