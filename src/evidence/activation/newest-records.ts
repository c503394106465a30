import { existsSync } from 'node:fs';
import { readRecords } from '../log/index.ts';
import { segmentNumbers, segmentPath } from '../log/segments.ts';
import type { DecisionRecord } from '../records/decision-record.ts';

export interface NewestRecordsOptions {
  /** Name of the policy that decided. */
  readonly policy: string;
  readonly limit: number;
  readonly signal: AbortSignal;
}

/**
 * The newest records of one policy in a log on disk, oldest first, without those for anonymous callers. A log that is not
 * there yet has none. Throws `file_unreadable`, or the signal's reason.
 */
export async function newestRecords(folder: string, options: NewestRecordsOptions): Promise<readonly DecisionRecord[]> {
  const { policy, limit, signal } = options;
  if (!existsSync(folder)) return [];
  let found: readonly DecisionRecord[] = [];
  // From the newest segment on: a log may hold far more than is asked for.
  for (const number of segmentNumbers(folder).toReversed()) {
    if (found.length >= limit) break;
    const older: DecisionRecord[] = [];
    const path = segmentPath(folder, number);
    try {
      for await (const record of readRecords(path, { signal })) {
        const { svidgate } = record;
        if (svidgate.policy === policy && svidgate.caller !== 'anonymous') older.push(record);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (existsSync(path)) throw error;
      break; // the oldest segments go while they are read
    }
    found = [...older, ...found].slice(-limit);
  }
  signal.throwIfAborted();
  return found;
}
