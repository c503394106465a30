import type { RegistrationEntry, Revocation, SpiffeId, TrustBundle, TrustDomain } from '../spiffe/index.ts';

/**
 * What must survive a restart and kill -9, apart from keys. A write that has returned is on disk, and is whole or has
 * not happened. What is asked for takes effect in the order of the calls, also when the caller does not wait. Every
 * function throws `datastore_failed` when the database cannot be used, and those that write `invalid_request` for a record
 * that could not be read back. The same contract suite runs against every implementation
 * (test/support/datastore-contract.ts).
 */
export interface Datastore {
  readonly entries: EntryStore;
  readonly bundles: BundleStore;
  readonly revocations: RevocationStore;
  readonly documents: DocumentStore;
  readonly issued: IssuedStore;
  readonly shadow: ShadowStore;
  readonly policyHistory: PolicyHistoryStore;
  /**
   * All rows of all tables at one moment, save issued SVIDs that have ended, counts of shadow policies and the history of
   * policies, for a backup: one JSON document that any implementation can load.
   */
  dump(): Promise<string>;
  /**
   * Replaces everything by a dump, in one step. Revocations that are here and not in the dump stay: a restored backup never
   * undoes a newer revocation. Records of issued SVIDs stay too: they are as true as before. `merge` makes one text of a
   * document that is in both. Throws `invalid_request` when it is no dump, or one of a newer svidgate.
   */
  load(dump: string, merge?: DocumentMerge): Promise<void>;
  close(): Promise<void>;
}

/** Gives the text that stays of a document that is in a dump and in the datastore it is loaded into. */
export type DocumentMerge = (name: string, texts: { readonly restored: string; readonly present: string }) => string;

/** An entry of the admin API. */
export interface StoredEntry {
  readonly entry: RegistrationEntry;
  readonly revision: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

export type EntryChange =
  { readonly kind: 'put'; readonly stored: StoredEntry } | { readonly kind: 'delete'; readonly entryId: string };

export interface EntryStore {
  /** In the order of entry ids. */
  list(): Promise<readonly StoredEntry[]>;
  /** All changes or none. Deleting what is not there is no change. */
  apply(changes: readonly EntryChange[]): Promise<void>;
}

/** Bundles of foreign trust domains that were set by the API. */
export interface BundleStore {
  list(): Promise<readonly TrustBundle[]>;
  put(bundle: TrustBundle): Promise<void>;
  delete(trustDomain: TrustDomain): Promise<void>;
}

export interface RevocationStore {
  /** Oldest first. */
  list(): Promise<readonly Revocation[]>;
  put(revocation: Revocation): Promise<void>;
  delete(id: string): Promise<void>;
}

/** Texts of other rooms, replaced as a whole: the authority's journal is one. */
export interface DocumentStore {
  /** Undefined when it was never written. */
  read(name: string): Promise<string | undefined>;
  /** The text is well-formed Unicode without NUL. */
  write(name: string, text: string): Promise<void>;
}

/** How often one candidate gave one answer to one kind of request; see evidence. */
export interface ShadowCount {
  readonly id: string;
  readonly policy: string;
  /** Of the candidate's snapshot. */
  readonly digest: string;
  readonly livePolicy: string;
  readonly principal: string;
  readonly method: string;
  readonly route: string;
  readonly comparison: string;
  readonly live: string;
  readonly liveReason: string;
  readonly candidate: string;
  readonly candidateReason: string;
  readonly count: number;
  /** Epoch milliseconds. */
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** Of the last one; empty when there is none. */
  readonly sampleDecisionId: string;
}

export interface ShadowStore {
  /** Without rows that cannot be read. */
  list(): Promise<readonly ShadowCount[]>;
  /** Deletes, then puts each in the place of the one with its id: all or nothing. No id is put twice in one call. */
  apply(changes: { readonly put?: readonly ShadowCount[]; readonly deleted?: readonly string[] }): Promise<void>;
}

/** What became of a policy at one moment; see policy. */
export interface PolicyEventRecord {
  readonly policy: string;
  readonly kind: 'activated' | 'refused' | 'rolled_back' | 'released';
  /** Epoch milliseconds. */
  readonly at: number;
  readonly source: string;
  readonly entrypoint: string;
  readonly by: string;
  readonly digest?: string;
  readonly revision?: string;
  readonly signedBy?: string;
  readonly gate?: string;
  readonly reason?: string;
  readonly heldFrom?: readonly string[];
  readonly forced?: boolean;
}

export interface PolicyHistoryStore {
  /** Of one policy, oldest first, without rows that cannot be read. */
  list(policy: string): Promise<readonly PolicyEventRecord[]>;
  /** Puts it after those of its policy; the oldest of these go: 100 refusals and 100 others are kept of each policy. */
  append(event: PolicyEventRecord): Promise<void>;
}

/** An X.509-SVID that was issued. */
export interface IssuedSvid {
  readonly serial: string;
  readonly spiffeId: SpiffeId;
  readonly entryId?: string;
  readonly authorityId: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

/**
 * Whose a serial is. Written behind: `record` returns at once, and what was recorded within the last moment before a
 * kill -9 may be missing. Rows go when the SVID has ended.
 */
export interface IssuedStore {
  record(svid: IssuedSvid): void;
  /** Also finds what is not written yet. */
  find(serial: string): Promise<IssuedSvid | undefined>;
  /** Removes what ended before this time, in epoch milliseconds. */
  prune(before: number): Promise<void>;
  /** Resolves when all that was recorded is written. Throws `datastore_failed`; then it is tried again by itself. */
  flush(): Promise<void>;
}
