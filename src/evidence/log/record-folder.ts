import { closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SvidgateError } from '../../core/index.ts';

/** Whether whoever held the folder before let go of it in order. */
export interface FolderHold {
  readonly wasLeftOpen: boolean;
  release(): void;
}

interface Holder {
  readonly pid: number;
  readonly startTicks: string;
}

/**
 * Opens or makes the folder of the log and marks it as held. Throws `file_unreadable` when it belongs to another user or others
 * may enter it: it is not made private here, since it may be one that others use, too. Throws `already_running` when another
 * process that lives holds it.
 */
export function holdRecordFolder(folder: string): FolderHold {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    refuseUnlessPrivate(folder);
  } catch (error) {
    throw new SvidgateError('file_unreadable', `the folder of the decision log, ${folder}, cannot be used`, {
      cause: error,
    });
  }
  const mark = join(folder, 'writer.json');
  const before = readMark(mark);
  if (before !== undefined && before.pid !== process.pid && startTicksOf(before.pid) === before.startTicks) {
    const message = `the decision log in ${folder} is written by another svidgate (process ${before.pid})`;
    throw new SvidgateError('already_running', message);
  }
  try {
    writeMark(mark, { pid: process.pid, startTicks: startTicksOf(process.pid) ?? '' });
  } catch (error) {
    // A disk that is full now has room later, and decisions go on meanwhile.
    const isFull = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
    if (!isFull)
      throw new SvidgateError('file_unreadable', `the decision log in ${folder} cannot be written`, { cause: error });
  }
  return { wasLeftOpen: before !== undefined, release: () => rmSync(mark, { force: true }) };
}

function refuseUnlessPrivate(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const { uid, mode } = fstatSync(fd);
    if (uid !== process.geteuid?.()) throw new Error(`it belongs to user ${uid}`);
    if ((mode & 0o077) !== 0) throw new Error(`its mode is ${(mode & 0o777).toString(8)}, and 700 is expected`);
  } finally {
    closeSync(fd);
  }
}

function writeMark(path: string, holder: Holder): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const fd = openSync(path, flags, 0o600);
  try {
    writeSync(fd, JSON.stringify(holder));
  } finally {
    closeSync(fd);
  }
}

/** Half a mark is one, too: its writer died. */
function readMark(path: string): Holder | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  try {
    const { pid, startTicks } = JSON.parse(text) as Partial<Holder>;
    if (typeof pid === 'number' && typeof startTicks === 'string') return { pid, startTicks };
  } catch {
    // As one whose process is gone.
  }
  return { pid: 0, startTicks: '' };
}

/** Tells two processes of one pid apart: proc(5), field 22 of stat. */
function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
