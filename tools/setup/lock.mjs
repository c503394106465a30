/**
 * One set-up at a time in a clone. The lock is a file that names its holder; a holder that has died is replaced.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isRunning, processIdentity } from './processes.mjs';

const POLL_MS = 200;

/**
 * Waits for the lock and takes it.
 * @param {string} file
 * @param {{ signal?: AbortSignal, onWait?: (pid: number) => void }} [options] onWait is called once for each holder that
 *   is waited for
 * @returns {Promise<() => void>} gives the lock back
 */
export async function acquireLock(file, { signal, onWait } = {}) {
  mkdirSync(dirname(file), { recursive: true });
  const own = /** @type {string} */ (processIdentity(process.pid));
  let waitedFor;
  for (;;) {
    if (tryLink(file, own)) return () => release(file, own);
    const holder = readIfThere(file);
    if (holder !== undefined && isRunning(holder)) {
      if (holder !== waitedFor) onWait?.(Number.parseInt(holder, 10));
      waitedFor = holder;
      await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
    } else if (holder !== undefined) {
      removeStale(file, holder);
    }
  }
}

/**
 * Makes the lock with its content in one step, so that nobody sees it empty.
 * @param {string} file
 * @param {string} own
 */
function tryLink(file, own) {
  const draft = `${file}.${process.pid}.new`;
  writeFileSync(draft, own);
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Takes away the lock of a dead holder. Two may find it dead at once: the slower one moves the faster one's new lock,
 * sees that it is not the one it meant, and puts it back.
 * @param {string} file
 * @param {string} holder
 */
function removeStale(file, holder) {
  const moved = `${file}.${process.pid}.stale`;
  try {
    renameSync(file, moved);
    if (readFileSync(moved, 'utf8') !== holder) linkSync(moved, file);
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    rmSync(moved, { force: true });
  }
}

/**
 * @param {string} file
 * @param {string} own
 */
function release(file, own) {
  if (readIfThere(file) === own) rmSync(file, { force: true });
}

/** @param {string} file */
function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
