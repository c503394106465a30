import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { SvidgateError, type ErrorCode } from '../core/index.ts';
import type { RegisteredEntry, RegistrationEntry } from '../spiffe/index.ts';
import type { DraftContext, EntryDraft } from './entry-draft.ts';
import type { EntryStage } from './entry-table.ts';
import { describeCollision } from './file-merge.ts';
import { inPages } from './pages.ts';

export interface ImportMistake {
  /** In the drafts. */
  readonly index: number;
  readonly code: ErrorCode;
  readonly message: string;
}

/** The entries as they are now, in the order of the drafts, or all that is wrong; never both. */
export type ImportResult =
  | { readonly entries: readonly RegisteredEntry[]; readonly mistakes?: never }
  | { readonly mistakes: readonly [ImportMistake, ...ImportMistake[]]; readonly entries?: never };

/**
 * `create`: each must be new. `replace`: an entry of the API with the same id, or for a draft without an id the one with
 * the same SPIFFE ID, parent and selectors, is replaced; what is as it was stays untouched.
 */
export type ImportMode = 'create' | 'replace';

export const PARENT_CIRCLE = '`parent_id` leads back to the entry itself: parents form no circle';

interface Plan {
  readonly index: number;
  readonly entry: RegistrationEntry;
  /** What it replaces; holds the very same entry when nothing changes. */
  readonly before: RegisteredEntry | undefined;
}

/** Stages all drafts. The stage must be thrown away when the result has mistakes. */
export async function stageDrafts(
  stage: EntryStage,
  drafts: readonly EntryDraft[],
  options: {
    readonly mode: ImportMode;
    readonly now: number;
    /** Throws a SvidgateError. */
    readonly check: (draft: EntryDraft, newId: DraftContext['newId']) => RegistrationEntry;
  },
): Promise<ImportResult> {
  const mistakes: ImportMistake[] = [];
  const plans: Plan[] = [];
  for await (const [index, draft] of inPages(drafts.entries())) {
    attempt(index, mistakes, () => plans.push({ index, ...planDraft(stage, draft, options) }));
  }
  // All of them out first: one may take over what another one had.
  for (const { before, entry } of plans)
    if (before !== undefined && before.entry !== entry) stage.remove(entry.entryId);
  const entries: RegisteredEntry[] = [];
  const indexes = new Map<string, number>();
  for await (const { index, entry, before } of inPages(plans)) {
    attempt(index, mistakes, () => {
      const first = indexes.get(entry.entryId);
      if (first !== undefined) throw exists(`entries ${first} and ${index} are both ${entry.entryId}`);
      indexes.set(entry.entryId, index);
      entries.push(before?.entry === entry ? before : addEntry(stage, entry, { before, now: options.now }));
    });
  }
  for (const { entryId } of stage.inCircles()) {
    mistakes.push({ index: indexes.get(entryId) ?? 0, code: 'invalid_request', message: PARENT_CIRCLE });
  }
  const [first, ...others] = mistakes.sort((a, b) => a.index - b.index);
  return first === undefined ? { entries } : { mistakes: [first, ...others] };
}

/** Stages a new version of an entry. Throws `already_exists`. */
export function addEntry(
  stage: EntryStage,
  entry: RegistrationEntry,
  context: { readonly before: RegisteredEntry | undefined; readonly now: number },
): RegisteredEntry {
  const collision = stage.collisionOf(entry);
  if (collision !== undefined) throw exists(describeCollision(collision));
  const { before, now } = context;
  const after: RegisteredEntry = {
    entry,
    source: 'api',
    revision: before === undefined ? 0 : before.revision + 1,
    createdAt: before?.createdAt ?? now,
  };
  stage.add(after);
  return after;
}

/** For entries that name no id themselves: an update may change all else of them. */
export function randomEntryId(): string {
  return randomUUID();
}

/** The file's own entries are changed there and nowhere else. */
export function ownedByFile(entryId: string): SvidgateError {
  return new SvidgateError('conflict', `entry ${entryId} is of the entries file: change it there`);
}

function planDraft(
  stage: EntryStage,
  draft: EntryDraft,
  options: Parameters<typeof stageDrafts>[2],
): Omit<Plan, 'index'> {
  if (options.mode === 'create') return { entry: options.check(draft, randomEntryId), before: undefined };
  const entry = options.check(draft, (content) => {
    const similar = stage.findSimilar(content);
    return similar?.source === 'api' ? similar.entry.entryId : randomEntryId();
  });
  const before = stage.find(entry.entryId);
  if (before?.source === 'file') throw ownedByFile(entry.entryId);
  return { entry: isDeepStrictEqual(before?.entry, entry) ? (before?.entry ?? entry) : entry, before };
}

function attempt(index: number, mistakes: ImportMistake[], work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof SvidgateError)) throw error;
    mistakes.push({ index, code: error.code, message: error.message });
  }
}

function exists(message: string): SvidgateError {
  return new SvidgateError('already_exists', message);
}
