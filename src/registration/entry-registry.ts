import { configInvalid, type Mistake } from '../config/index.ts';
import {
  describeError,
  fileChanges,
  noAudit,
  supervise,
  SvidgateError,
  untilAborted,
  Watchable,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { RegisteredEntry, RegistrationEntry } from '../spiffe/index.ts';
import { ApiEntries, type EntryAuthor, type EntryUpdate } from './api-entries.ts';
import { EntriesFile } from './entries-file.ts';
import type { EntryDraft } from './entry-draft.ts';
import { EntryTable, type StagedChange } from './entry-table.ts';
import { ExpiryTimer } from './expiry.ts';
import { stageFile, type RefusedEntry } from './file-merge.ts';
import type { ImportMode, ImportResult } from './import-drafts.ts';
import { createQueue } from './queue.ts';
import { recordChanges } from './record-changes.ts';
import type { Registry, RegistryOptions, RegistryStatus } from './registry.ts';
import { EntryReports } from './reports.ts';
import type { RegistrySnapshot } from './snapshot.ts';

export function createRegistry(options: RegistryOptions): Registry {
  return new EntryRegistry(options);
}

class EntryRegistry implements Registry {
  readonly #options: RegistryOptions;
  readonly #table: EntryTable;
  readonly #file: EntriesFile | undefined;
  readonly #api: ApiEntries | undefined;
  readonly #reports: EntryReports;
  readonly #expiry: ExpiryTimer;
  readonly #snapshot: Watchable<RegistrySnapshot>;
  readonly #status: Watchable<RegistryStatus>;
  /** Whoever changes the table stands in it. */
  readonly #inTurn = createQueue();
  /** What the file says, in force or not. */
  #fileEntries: readonly RegistrationEntry[] = [];
  #refused: readonly RefusedEntry[] = [];

  constructor(options: RegistryOptions) {
    const { file, store, trustDomain, clock, audit = noAudit, foreignTrustDomains } = options;
    this.#options = options;
    this.#table = new EntryTable(() => clock.now());
    this.#snapshot = new Watchable<RegistrySnapshot>(this.#table.snapshot);
    this.#status = new Watchable<RegistryStatus>({
      state: 'current',
      entryCount: 0,
      loadedAt: 0,
      mistakes: [],
      refusedCount: 0,
    });
    this.#file = file === undefined ? undefined : new EntriesFile({ file, trustDomain });
    this.#reports = new EntryReports(options);
    this.#expiry = new ExpiryTimer({
      clock,
      snapshot: () => this.#table.snapshot,
      onExpiry: (entries) => this.#afterExpiryOf(entries),
    });
    const onChange = (changes: readonly StagedChange[]): void => {
      this.#publish();
      this.#reports.apiChanged(changes);
    };
    this.#api =
      store && new ApiEntries({ table: this.#table, store, trustDomain, clock, audit, foreignTrustDomains, onChange });
  }

  get snapshot(): ReadonlyWatchable<RegistrySnapshot> {
    return this.#snapshot;
  }

  get status(): ReadonlyWatchable<RegistryStatus> {
    return this.#status;
  }

  load(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#loadStore();
      const reading = await this.#file?.read(new AbortController().signal);
      if (reading?.kind === 'mistakes') throw configInvalid(reading.mistakes);
      if (reading?.kind === 'entries') await this.#takeFile(reading.entries, 'start');
      else this.#publish();
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return supervise(signal, [(own) => this.#expiry.run(own), (own) => this.#followFile(own)]);
  }

  list(): readonly RegisteredEntry[] {
    return this.#table.snapshot.registered;
  }

  find(entryId: string): RegisteredEntry | undefined {
    return this.#table.snapshot.find(entryId);
  }

  create(draft: EntryDraft, by: EntryAuthor): Promise<RegisteredEntry> {
    return this.#changeApi((api) => api.create(draft, by));
  }

  update(entryId: string, update: EntryUpdate, by: EntryAuthor): Promise<RegisteredEntry> {
    return this.#changeApi((api) => api.update(entryId, update, by));
  }

  delete(entryId: string, by: EntryAuthor): Promise<RegisteredEntry> {
    return this.#changeApi((api) => api.delete(entryId, by));
  }

  import(
    drafts: readonly EntryDraft[],
    by: EntryAuthor,
    { mode }: { readonly mode: ImportMode },
  ): Promise<ImportResult> {
    return this.#changeApi((api) => api.import(drafts, by, mode));
  }

  #changeApi<T>(work: (api: ApiEntries) => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      if (this.#api === undefined) throw new SvidgateError('unimplemented', 'entries are changed in the entries file');
      const result = await work(this.#api);
      await this.#retryRefused();
      return result;
    });
  }

  /** What was in the way of the file's entries may be gone. Its failure is none of the change before it. */
  async #retryRefused(): Promise<void> {
    if (this.#refused.length === 0) return;
    try {
      await this.#takeFile(this.#fileEntries, 'retry');
    } catch (error) {
      this.#fileFailed(error);
    }
  }

  async #loadStore(): Promise<void> {
    const { store, trustDomain } = this.#options;
    const stage = this.#table.stage();
    for (const stored of (await store?.list()) ?? []) {
      const { entry } = stored;
      const isOwn = entry.spiffeId.startsWith(`spiffe://${trustDomain}/`);
      const reason = isOwn
        ? stage.collisionOf(entry) && 'another entry has the same content'
        : 'of another trust domain';
      if (reason === undefined) stage.add({ ...stored, source: 'api' });
      else this.#reports.storedRefused(entry, reason);
    }
    await this.#table.commit(stage);
  }

  async #followFile(signal: AbortSignal): Promise<void> {
    const { file, clock } = this.#options;
    if (file === undefined) return;
    for await (const _ of fileChanges(file, { clock, signal })) {
      await untilAborted(signal, this.#refresh(signal));
    }
  }

  async #refresh(signal: AbortSignal): Promise<void> {
    const reading = await this.#file?.read(signal);
    if (reading?.kind === 'mistakes') this.#refuseFile(reading.mistakes);
    if (reading?.kind !== 'entries') return;
    try {
      await this.#inTurn(async () => {
        if (!signal.aborted) await this.#takeFile(reading.entries, 'read');
      });
    } catch (error) {
      this.#fileFailed(error);
    }
  }

  /** Not the file's fault: the next look at it tries again. */
  #fileFailed(error: unknown): void {
    const { file = '' } = this.#options;
    this.#file?.forget();
    const message = `the changes of the file cannot be made: ${describeError(error)}`;
    this.#refuseFile([{ file, line: 1, column: 1, message, remedy: 'svidgate tries again' }]);
  }

  #refuseFile(mistakes: readonly Mistake[]): void {
    const before = this.#status.value.mistakes;
    this.#status.set({ ...this.#status.value, state: 'stale', mistakes });
    this.#reports.fileRefused(mistakes, before);
  }

  /** Puts the file's entries in force, as far as the API's let them. At the start nothing changes, so nothing is audited. */
  async #takeFile(entries: readonly RegistrationEntry[], why: 'start' | 'read' | 'retry'): Promise<void> {
    const { clock, audit = noAudit } = this.#options;
    const stage = this.#table.stage();
    const refused = await stageFile(stage, entries, { snapshot: this.#table.snapshot, now: clock.now() });
    const changes = stage.changes();
    if (why !== 'start') await recordChanges(audit, changes, { method: 'entries file' });
    await this.#table.commit(stage);
    const before = this.#refused;
    this.#fileEntries = entries;
    this.#refused = refused;
    // A retry says nothing of what is in the file now: that may be wrong.
    const current = { state: 'current', mistakes: [], loadedAt: clock.now() } as const;
    this.#status.set({
      ...this.#status.value,
      ...(why === 'retry' ? {} : current),
      refusedCount: refused.length,
    });
    this.#publish();
    this.#reports.fileTaken(changes, { refused, before });
  }

  #publish(): void {
    const next = this.#table.snapshot;
    this.#status.set({ ...this.#status.value, entryCount: next.registered.length });
    this.#options.metrics.gauge('svidgate_entries', {}, next.registered.length);
    this.#snapshot.set(next);
    this.#expiry.entriesChanged();
  }

  #afterExpiryOf(entries: readonly RegistrationEntry[]): void {
    this.#snapshot.set(this.#table.snapshot.withChanged(entries));
    this.#reports.expired(entries);
  }
}
