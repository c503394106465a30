import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

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
    return { startTime, path: readlinkSync(`/proc/${pid}/exe`), file: readExecutableFile(pid) };
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

/** Device and inode of what the process runs. Unlike the path they stay when the file is replaced on disk. */
export function readExecutableFile(pid: number): string {
  return fileAt(`/proc/${pid}/exe`);
}

/** The start time alone. Throws when the process is not visible. */
export function readStartTime(pid: number): string {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the command name in parentheses, and may hold spaces and parentheses itself.
  const startTime = text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  if (startTime === undefined || startTime === '') throw new Error('the process has no start time');
  return startTime;
}

/** Ids of the supplementary groups, in decimal (proc_pid_status(5), `Groups`). Throws when the process is not visible. */
export function readSupplementaryGroups(pid: number): readonly string[] {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const [, ids = ''] = /^Groups:(?<ids>[\d \t]*)$/m.exec(status) ?? [];
  return ids.split(/\s+/).filter((id) => id !== '');
}

/** Effective user and group (proc_pid_status(5)), which is what SO_PEERCRED gives. Throws when it is not visible. */
export function readOwner(pid: number): { readonly uid: number; readonly gid: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const effective = (name: 'Uid' | 'Gid'): number => {
    const id = new RegExp(`^${name}:\\t\\d+\\t(?<id>\\d+)`, 'm').exec(status)?.groups?.['id'];
    if (id === undefined) throw new Error(`the status of the process has no ${name}`);
    return Number(id);
  };
  return { uid: effective('Uid'), gid: effective('Gid') };
}

/** /proc/PID/cgroup (cgroups(7)), as seen from our own cgroup namespace. Throws when the process is not visible. */
export function readCgroups(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/cgroup`, 'utf8');
}

/**
 * Whether the path says which file runs. It may not: with a user namespace of its own, for which nobody needs to be
 * root, a process can mount any file over any path, and the kernel then gives that path. So it must lead to the same
 * file from our own root, or from the process's root where only our own user namespace can have mounted it (the usual
 * container).
 */
export function isPathGenuine(pid: number, image: ProcessImage): boolean {
  const { path, file } = image;
  if (path === undefined || file === undefined) return false;
  const leadsTo = (place: string): boolean => {
    try {
      return fileAt(place) === file;
    } catch {
      return false;
    }
  };
  return leadsTo(path) || (isInOurUserNamespace(pid) && leadsTo(`/proc/${pid}/root${path}`));
}

function isInOurUserNamespace(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`) === readlinkSync('/proc/self/ns/user');
  } catch {
    return false;
  }
}

function fileAt(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}
