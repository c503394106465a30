/**
 * registration: which SPIFFE IDs a caller with these selectors gets.
 * Promises: the entries in force are always those of one whole file without a mistake; matching takes well under a
 * millisecond for 100,000 entries. Must not know how selectors are found out nor what an SVID is.
 */
export { parseEntries } from './entries-document.ts';
export type { EntryDraft } from './entry-draft.ts';
export {
  checkEntriesFile,
  createRegistry,
  type Registry,
  type RegistryOptions,
  type RegistryStatus,
} from './registry.ts';
export { createSnapshot, type RegistrySnapshot } from './snapshot.ts';
