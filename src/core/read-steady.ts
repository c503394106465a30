import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** A file that changed this recently may still be in the middle of being written. */
export const QUIET_MS = 50;
/** Who writes for longer than some two seconds is not waited for: what is there is read, and read again at the next change. */
const MAX_READS = 40;

/**
 * What `read` gives for a file that others may write in place: read again while the file changes meanwhile, or changed
 * just before. So a half-written file, whose first half may be right by itself, is not taken for the whole. Time is the
 * system's, as that of the file.
 */
export async function readSteady<T>(path: string, read: () => Promise<T>): Promise<T> {
  for (let reads = 1; ; reads += 1) {
    const before = await traceOf(path);
    const value = await read();
    const after = await traceOf(path);
    if (reads >= MAX_READS || (before.text === after.text && !isFresh(after.changedAt))) return value;
    await sleep(QUIET_MS);
  }
}

/** Whether something changed so recently that it may be changing still. A time ahead of the clock says nothing. */
export function isFresh(changedAtMs: number): boolean {
  const age = Date.now() - changedAtMs;
  return age >= 0 && age < QUIET_MS;
}

interface Trace {
  readonly text: string;
  readonly changedAt: number;
}

async function traceOf(path: string): Promise<Trace> {
  try {
    const { dev, ino, size, mtimeMs } = await stat(path);
    return { text: `${dev}:${ino}:${size}:${mtimeMs}`, changedAt: mtimeMs };
  } catch {
    return { text: '', changedAt: Number.NEGATIVE_INFINITY }; // not there: `read` says so
  }
}
