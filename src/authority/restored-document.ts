import { formatJournal, JOURNAL_DOCUMENT, parseJournal, type JournalState } from './journal.ts';
import { LISTS_DOCUMENT, mergeLists } from './revocation-lists.ts';
import type { Slot } from './slot.ts';

/** A document of a backup, and the one of the same name that is here. */
export interface RestoredDocument {
  readonly restored: string;
  readonly present: string;
}

/**
 * What becomes of a document of ours when a backup is restored over it: the backup's, without undoing what happened since.
 * An authority that was tainted or revoked stays so; one that was made since is old, so that what it signed stays
 * valid and its key is removed in time; no number goes back. Where one of the two cannot be read it is the backup's.
 */
export function mergeRestoredDocument(name: string, { restored, present }: RestoredDocument): string {
  try {
    if (name === LISTS_DOCUMENT) return mergeLists(restored, present);
    if (name !== JOURNAL_DOCUMENT) return restored;
    const [backup, here] = [parseJournal(restored), parseJournal(present)];
    if (backup.trustDomain !== here.trustDomain) return restored;
    return formatJournal(mergeJournals(backup.state, here.state), backup.trustDomain);
  } catch {
    return restored; // whoever loads it says what is wrong with it
  }
}

function mergeJournals(backup: JournalState, here: JournalState): JournalState {
  const known = new Set(backup.slots.map(({ id }) => id));
  const since = here.slots.filter(({ id }) => !known.has(id));
  const slots = [
    ...backup.slots.map((slot) => withLaterDistrust(slot, here.slots)),
    // One that was prepared has signed nothing.
    ...since.filter(({ state }) => state !== 'prepared').map(retired),
  ];
  const used = new Set(slots.filter(({ state }) => state !== 'revoked').map(({ keyId }) => keyId));
  const named = [...backup.slots, ...since].map(({ keyId }) => keyId);
  const looseKeys = new Set([...backup.looseKeys, ...here.looseKeys, ...named].filter((keyId) => !used.has(keyId)));
  return {
    sequence: Math.max(backup.sequence, here.sequence) + 1,
    slots: slots.toSorted((one, other) => one.publishedAt - other.publishedAt),
    upstreamRoots: here.upstreamRoots,
    looseKeys: [...looseKeys],
  };
}

function withLaterDistrust(slot: Slot, here: readonly Slot[]): Slot {
  const state = here.find(({ id }) => id === slot.id)?.state;
  const isDistrusted = state === 'revoked' || (state === 'tainted' && slot.state !== 'revoked');
  return isDistrusted ? { ...slot, state, activationRequested: false } : slot;
}

function retired(slot: Slot): Slot {
  return slot.state === 'active' ? { ...slot, state: 'old' } : slot;
}
