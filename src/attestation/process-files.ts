import { readFileSync, readlinkSync, statSync } from 'node:fs';

/** Which program a process runs, as /proc tells. Two readings of one process are compared field by field. */
export interface ProcessImage {
  /** Clock ticks since boot at which the process started (proc_pid_stat(5), field 22). */
  readonly startTime: string;
  /** Path of the executable as the kernel knows it, or undefined when we may not read it. */
  readonly path: string | undefined;
  /** Device and inode of the executable, or undefined when we may not read it. */
  readonly file: string | undefined;
}

/** Reads /proc/PID. Throws when the process is not visible to us. */
export function readProcessImage(pid: number): ProcessImage {
  const startTime = readStartTime(pid);
  try {
    const { dev, ino } = statSync(`/proc/${pid}/exe`, { bigint: true });
    return { startTime, path: readlinkSync(`/proc/${pid}/exe`), file: `${dev}:${ino}` };
  } catch (error) {
    // Another user's process: /proc/PID/exe is its own affair unless we are root.
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') {
      return { startTime, path: undefined, file: undefined };
    }
    throw error;
  }
}

export function sameImage(one: ProcessImage, other: ProcessImage): boolean {
  return one.startTime === other.startTime && one.path === other.path && one.file === other.file;
}

/** The start time alone. Throws when the process is not visible. */
export function readStartTime(pid: number): string {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the command name in parentheses, and may hold spaces and parentheses itself.
  const startTime = text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  if (startTime === undefined || startTime === '') throw new Error('the process has no start time');
  return startTime;
}
