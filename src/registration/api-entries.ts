import { isDeepStrictEqual } from 'node:util';
import { SvidgateError, type AuditCaller, type AuditLog, type Clock, type ReadonlyWatchable } from '../core/index.ts';
import type { EntryChange, EntryStore } from '../datastore/index.ts';
import type { RegisteredEntry, RegistrationEntry, TrustDomain } from '../spiffe/index.ts';
import { checkDraft, type DraftContext, type EntryDraft } from './entry-draft.ts';
import type { EntryStage, EntryTable, StagedChange } from './entry-table.ts';
import { formatDraft } from './format-draft.ts';
import {
  addEntry,
  ownedByFile,
  PARENT_CIRCLE,
  randomEntryId,
  stageDrafts,
  type ImportMode,
  type ImportResult,
} from './import-drafts.ts';
import { recordChanges, recordFailure } from './record-changes.ts';

/** Who changes entries through the API: what the kernel and attestation told, and what it may touch. */
export interface EntryAuthor extends AuditCaller {
  /** The RPC or command, for the audit log; `entries` when absent. */
  readonly method?: string;
  /**
   * Asked about each version, old and new, of each entry that would change; false refuses the whole change with
   * `permission_denied`. Absent: all. Asked while nobody else can change entries, so that it holds for what is stored.
   */
  readonly mayChange?: (entry: RegistrationEntry) => boolean;
}

export interface EntryUpdate {
  /** The fields to replace; one that is empty, 0 or false is cleared, one that is absent stays. */
  readonly set: EntryDraft;
  /** Refused with `conflict` when the entry has another revision. */
  readonly expectedRevision?: number | undefined;
}

export interface ApiEntriesOptions {
  readonly table: EntryTable;
  readonly store: EntryStore;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly foreignTrustDomains?: ReadonlyWatchable<ReadonlySet<TrustDomain>> | undefined;
  /** Called when the changes are in force. */
  readonly onChange: (changes: readonly StagedChange[]) => void;
}

const MAX_SHOWN = 64;

/**
 * The changes of entries through the API. Each is audited, then stored, then in force, and has not happened when one of
 * these fails. Runs one at a time: the caller sees to that.
 */
export class ApiEntries {
  readonly #options: ApiEntriesOptions;

  constructor(options: ApiEntriesOptions) {
    this.#options = options;
  }

  async create(draft: EntryDraft, by: EntryAuthor): Promise<RegisteredEntry> {
    const { table, clock } = this.#options;
    const stage = table.stage();
    const entry = this.#check(draft, { newId: randomEntryId });
    const created = addEntry(stage, entry, { before: undefined, now: clock.now() });
    assertNoCircle(stage);
    await this.#commit(stage, by);
    return created;
  }

  async update(entryId: string, update: EntryUpdate, by: EntryAuthor): Promise<RegisteredEntry> {
    const { table, clock } = this.#options;
    const { set, expectedRevision } = update;
    const before = this.#owned(entryId);
    if (expectedRevision !== undefined && expectedRevision !== before.revision) {
      const message = `entry ${entryId} has revision ${before.revision}, not ${expectedRevision}`;
      throw new SvidgateError('conflict', message);
    }
    if ((set.entry_id ?? entryId) !== entryId) throw invalid('the `entry_id` of an entry never changes');
    const given = Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined));
    const draft = { ...formatDraft(before.entry), ...given };
    const entry = this.#check(draft, { newId: randomEntryId, before: before.entry });
    if (isDeepStrictEqual(entry, before.entry)) return before;
    const stage = table.stage();
    stage.remove(entryId);
    const after = addEntry(stage, entry, { before, now: clock.now() });
    assertNoCircle(stage);
    await this.#commit(stage, by);
    return after;
  }

  async delete(entryId: string, by: EntryAuthor): Promise<RegisteredEntry> {
    const found = this.#owned(entryId);
    const stage = this.#options.table.stage();
    stage.remove(entryId);
    await this.#commit(stage, by);
    return found;
  }

  async import(drafts: readonly EntryDraft[], by: EntryAuthor, mode: ImportMode): Promise<ImportResult> {
    const { table, clock } = this.#options;
    const stage = table.stage();
    const result = await stageDrafts(stage, drafts, {
      mode,
      now: clock.now(),
      check: (draft, newId) => this.#check(draft, { newId }),
    });
    if (result.mistakes === undefined) await this.#commit(stage, by);
    return result;
  }

  #check(
    draft: EntryDraft,
    context: Pick<DraftContext, 'newId'> & { readonly before?: RegistrationEntry },
  ): RegistrationEntry {
    const { trustDomain, foreignTrustDomains } = this.#options;
    const { entry, mistakes } = checkDraft(draft, { trustDomain, path: [], newId: context.newId });
    if (entry === undefined) throw invalid(mistakes.map(({ message, remedy }) => `${message}: ${remedy}`).join('; '));
    const known = foreignTrustDomains?.value;
    const isNew = (name: TrustDomain): boolean => context.before?.federatesWith?.includes(name) !== true;
    const unknown = entry.federatesWith?.find((name) => known?.has(name) === false && isNew(name));
    if (unknown !== undefined)
      throw invalid(`\`federates_with\` names ${unknown}: set the bundle of that domain first`);
    return entry;
  }

  #owned(entryId: string): RegisteredEntry {
    const found = this.#options.table.snapshot.find(entryId);
    if (found === undefined) throw new SvidgateError('not_found', `there is no entry ${shown(entryId)}`);
    if (found.source === 'file') throw ownedByFile(entryId);
    return found;
  }

  async #commit(stage: EntryStage, by: EntryAuthor): Promise<void> {
    const { table, store, audit, onChange } = this.#options;
    const changes = stage.changes();
    if (changes.length === 0) return;
    for (const { before, after } of changes) {
      for (const registered of [before, after]) assertAllowed(registered, by);
    }
    const cause = { method: by.method ?? 'entries', caller: callerOf(by) };
    await recordChanges(audit, changes, cause);
    try {
      await store.apply(changes.flatMap(toStoreChange));
    } catch (error) {
      const failure = SvidgateError.from(error);
      recordFailure(audit, changes, { ...cause, failure_reason: `${failure.code}: ${failure.message}` });
      throw failure;
    }
    await table.commit(stage);
    onChange(changes);
  }
}

function toStoreChange({ before, after }: StagedChange): EntryChange | [] {
  if (after !== undefined) {
    const { entry, revision, createdAt } = after;
    return { kind: 'put', stored: { entry, revision, createdAt } };
  }
  return before === undefined ? [] : { kind: 'delete', entryId: before.entry.entryId };
}

function assertNoCircle(stage: EntryStage): void {
  if (stage.inCircles().length > 0) throw invalid(PARENT_CIRCLE);
}

function assertAllowed(registered: RegisteredEntry | undefined, by: EntryAuthor): void {
  if (registered === undefined || by.mayChange?.(registered.entry) !== false) return;
  const { entryId, spiffeId } = registered.entry;
  throw new SvidgateError('permission_denied', `the caller may not change entry ${entryId}, which gives ${spiffeId}`);
}

function callerOf({ pid, uid, gid, executable, selectors }: EntryAuthor): AuditCaller {
  return {
    ...(pid === undefined ? {} : { pid }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(executable === undefined ? {} : { executable }),
    ...(selectors === undefined ? {} : { selectors }),
  };
}

/** Short enough for a message, whatever was asked for. */
function shown(entryId: string): string {
  return JSON.stringify(entryId.length > MAX_SHOWN ? `${entryId.slice(0, MAX_SHOWN)}…` : entryId);
}

function invalid(message: string): SvidgateError {
  return new SvidgateError('invalid_request', message);
}
