/**
 * datastore: what must survive a restart and kill -9.
 * Promises: one process at a time; a write is whole or has not happened. Must not know what the records mean.
 */
export { MIN_PASSPHRASE_LENGTH, openBackup, sealBackup, type BackupContent, type BackupKey } from './backup-file.ts';
export { createCompiledPolicies, type CompiledPolicies } from './compiled-policies.ts';
export { openDataDirectory, type DataDirectory } from './data-directory.ts';
export { createPolicySnapshots, type PolicySnapshots } from './policy-snapshots.ts';
export { createKeptBundleFiles, type KeptBundleFiles } from './kept-bundles.ts';
export { openPrivateFolder } from './private-folder.ts';
export { openSqliteDatastore, type SqliteDatastoreOptions } from './sqlite-datastore.ts';
export type {
  BundleStore,
  Datastore,
  DocumentStore,
  EntryChange,
  EntryStore,
  IssuedStore,
  IssuedSvid,
  PolicyEventRecord,
  PolicyHistoryStore,
  RevocationStore,
  ShadowCount,
  ShadowStore,
  StoredEntry,
} from './datastore.ts';
