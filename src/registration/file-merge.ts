import { isDeepStrictEqual } from 'node:util';
import type { RegisteredEntry, RegistrationEntry } from '../spiffe/index.ts';
import type { Collision, EntryStage } from './entry-table.ts';
import { inPages } from './pages.ts';
import type { EntriesSnapshot } from './snapshot.ts';

/** An entry of the file that is not in force. */
export interface RefusedEntry {
  readonly entry: RegistrationEntry;
  /** Names what is in its way. */
  readonly reason: string;
}

/**
 * Makes the entries of source `file` those of the file, as far as they can stand beside the ones of the API, which stay
 * as they are. Gives those that cannot.
 */
export async function stageFile(
  stage: EntryStage,
  entries: readonly RegistrationEntry[],
  table: { readonly snapshot: EntriesSnapshot; readonly now: number },
): Promise<readonly RefusedEntry[]> {
  const wanted = new Map(entries.map((entry) => [entry.entryId, entry]));
  const replaced = new Map<string, RegisteredEntry>();
  for await (const registered of inPages(table.snapshot.registered)) {
    const { entry, source } = registered;
    if (source !== 'file' || isDeepStrictEqual(wanted.get(entry.entryId), entry)) continue;
    replaced.set(entry.entryId, registered);
    stage.remove(entry.entryId);
  }
  // Only now: an entry may take over what another one of the file had.
  const refused: RefusedEntry[] = [];
  for await (const entry of inPages(entries)) {
    if (stage.find(entry.entryId)?.source === 'file') continue;
    const collision = stage.collisionOf(entry);
    if (collision === undefined) stage.add(fileEntry(entry, replaced.get(entry.entryId), table.now));
    else refused.push({ entry, reason: describeCollision(collision) });
  }
  for (const entry of stage.inCircles()) {
    stage.remove(entry.entryId);
    refused.push({ entry, reason: 'with the entries of the API, its parents form a circle' });
  }
  return refused;
}

/** `entry x of the API has the same …`. */
export function describeCollision({ kind, other }: Collision): string {
  const owner = other.source === 'api' ? 'of the API' : 'of the entries file';
  const what = kind === 'id' ? 'id' : 'SPIFFE ID, parent and selectors';
  return `entry ${other.entry.entryId} ${owner} has the same ${what}`;
}

function fileEntry(entry: RegistrationEntry, before: RegisteredEntry | undefined, now: number): RegisteredEntry {
  return {
    entry,
    source: 'file',
    revision: before === undefined ? 0 : before.revision + 1,
    createdAt: before?.createdAt ?? now,
  };
}
