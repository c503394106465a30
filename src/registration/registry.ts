import type { Mistake } from '../config/index.ts';
import type { AuditLog, Clock, Logger, Metrics, ReadonlyWatchable } from '../core/index.ts';
import type { EntryStore } from '../datastore/index.ts';
import type { RegisteredEntry, TrustDomain } from '../spiffe/index.ts';
import type { EntryAuthor, EntryUpdate } from './api-entries.ts';
import type { EntryDraft } from './entry-draft.ts';
import type { ImportMode, ImportResult } from './import-drafts.ts';
import type { RegistrySnapshot } from './snapshot.ts';

export interface RegistryOptions {
  /** Absolute path of the entries file; without it there are those of the API only. */
  readonly file?: string;
  /** Where the entries of the API are kept; without it there are none, and changing them is `unimplemented`. */
  readonly store?: EntryStore;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Default: none. */
  readonly audit?: AuditLog;
  /** Whose bundles are there. When given, the API refuses to federate with others, and the file draws a warning. */
  readonly foreignTrustDomains?: ReadonlyWatchable<ReadonlySet<TrustDomain>>;
}

export interface RegistryStatus {
  /** `stale`: the file has become wrong or unreadable, and its entries are those read before. */
  readonly state: 'current' | 'stale';
  /** Of all sources. */
  readonly entryCount: number;
  /** Epoch milliseconds of when the file's entries in force were read. */
  readonly loadedAt: number;
  /** What is wrong with the file now; empty when it is current. */
  readonly mistakes: readonly Mistake[];
  /** How many entries of the file are not in force because entries of the API are in their way. */
  readonly refusedCount: number;
}

/**
 * The registration entries in force, of a file and of the API. Neither source ever changes or removes an entry of the
 * other one. Changes are made one after the other, in the order of the calls.
 */
export interface Registry {
  /**
   * Empty until load. A new one for each change of the entries and when entries expire; who holds on to a match asks the
   * new one in a `subscribe` callback, which misses none, whether it `concerns` the caller.
   */
  readonly snapshot: ReadonlyWatchable<RegistrySnapshot>;
  readonly status: ReadonlyWatchable<RegistryStatus>;
  /** Reads store and file, once. Throws `datastore_failed`, or `config_invalid` with every mistake. */
  load(): Promise<void>;
  /** Follows the file and the entries' ends until the signal is aborted. A wrong or vanished file leaves its entries in force. */
  run(signal: AbortSignal): Promise<void>;
  /** In the order of entry ids. */
  list(): readonly RegisteredEntry[];
  find(entryId: string): RegisteredEntry | undefined;
  /**
   * An entry of the API, stored when this returns. A draft without an id gets a random one. This and the following throw
   * `invalid_request`, `permission_denied` (EntryAuthor), `audit_failed` or `datastore_failed`, and have then changed
   * nothing. Throws `already_exists` for an id, or for SPIFFE ID, parent and selectors, that another entry has.
   */
  create(draft: EntryDraft, by: EntryAuthor): Promise<RegisteredEntry>;
  /**
   * Throws `not_found`, `conflict` (the file's, or not the expected revision), `already_exists`. An update that changes
   * nothing leaves the revision.
   */
  update(entryId: string, update: EntryUpdate, by: EntryAuthor): Promise<RegisteredEntry>;
  /** Gives what it was. Throws `not_found`, or `conflict` when it is the file's. */
  delete(entryId: string, by: EntryAuthor): Promise<RegisteredEntry>;
  /** All drafts or none; the mistakes of each draft come back rather than being thrown. */
  import(drafts: readonly EntryDraft[], by: EntryAuthor, options: { readonly mode: ImportMode }): Promise<ImportResult>;
}
