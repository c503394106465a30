/**
 * Processes by pid and start time, since a pid alone may have been given to another process meanwhile, and the record
 * of the process groups that a set-up has running: one that was killed leaves them behind, and the next one ends them
 * before it works on the same files.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A pid with the start time of its process, as text.
 * @param {number} pid
 * @returns {string | undefined} undefined when there is no such process
 */
export function processIdentity(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name comes second, in parentheses, and may hold spaces; proc(5): state is field 3, start time 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : `${pid} ${fields[19]}`;
  } catch {
    return undefined;
  }
}

/**
 * @param {string} identity as processIdentity gave it
 * @returns {boolean} true while that very process runs
 */
export function isRunning(identity) {
  return processIdentity(Number.parseInt(identity, 10)) === identity;
}

/**
 * Sends a signal to a process group; one that has ended is no error.
 * @param {number} groupId
 * @param {NodeJS.Signals} signal
 */
export function signalGroup(groupId, signal) {
  try {
    process.kill(-groupId, signal);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error;
  }
}

/**
 * Notes a running process group.
 * @param {string} dir
 * @param {number} groupId the pid of its leader
 * @returns {() => void} forgets it again
 */
export function recordGroup(dir, groupId) {
  mkdirSync(dir, { recursive: true });
  const file = join(dir, String(groupId));
  writeFileSync(file, processIdentity(groupId) ?? '');
  return () => rmSync(file, { force: true });
}

/**
 * Ends the process groups that an earlier set-up left running. To be called under the lock.
 * @param {string} dir
 * @returns {number} how many were still running
 */
export function endLeftoverGroups(dir) {
  let ended = 0;
  /** @type {string[]} */
  let names = [];
  try {
    names = readdirSync(dir);
  } catch {
    return 0;
  }
  for (const name of names) {
    const file = join(dir, name);
    const identity = readFileSync(file, 'utf8');
    if (identity !== '' && isRunning(identity)) {
      signalGroup(Number.parseInt(identity, 10), 'SIGKILL');
      ended += 1;
    }
    rmSync(file, { force: true });
  }
  return ended;
}
