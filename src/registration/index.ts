/**
 * registration: which SPIFFE IDs a caller with these selectors gets.
 * Promises: the file's entries in force are always those of one whole file without a mistake; an entry of the API is
 * stored before it is in force; no source changes the other's; matching takes well under a millisecond for 100,000
 * entries. Must not know how selectors are found out nor what an SVID is.
 */
export type { EntryAuthor, EntryUpdate } from './api-entries.ts';
export { parseEntries } from './entries-document.ts';
export type { EntryDraft, SpireId } from './entry-draft.ts';
export { checkEntriesFile } from './entries-file.ts';
export { createRegistry } from './entry-registry.ts';
export { formatDraft } from './format-draft.ts';
export type { ImportMistake, ImportMode, ImportResult } from './import-drafts.ts';
export type { Registry, RegistryOptions, RegistryStatus } from './registry.ts';
export { createSnapshot, type RegistrySnapshot } from './snapshot.ts';
export { formatSpireEntries } from './spire-json.ts';
