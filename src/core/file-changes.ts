import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from './clock.ts';

export interface FileChangesOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** How long to gather events before telling. Default 50. */
  readonly settleMs?: number;
  /** The longest silence. Default 2000. */
  readonly pollMs?: number;
  /** Whether a folder's own folders count, too. Default true. */
  readonly recursive?: boolean;
}

/**
 * Yields once when it has begun to watch, then whenever the file or folder may have changed, until the signal is
 * aborted. It is a hint: the reader takes a snapshot and compares digests. A slow poll covers what the kernel does not
 * tell: network file systems, a replaced folder, Kubernetes' `..data` symlink swap. Events during the reader's work are
 * not lost: whenever it reads, a watcher is there already.
 */
export async function* fileChanges(path: string, options: FileChangesOptions): AsyncGenerator<void, void, void> {
  const { clock, signal, settleMs = 50, pollMs = 2000, recursive = true } = options;
  let event = new AbortController();
  const watchAnew = (): Promise<FSWatcher | undefined> => startWatcher(path, recursive, () => event.abort());
  let watcher = await watchAnew();
  try {
    if (!signal.aborted) yield;
    while (!signal.aborted) {
      await clock.sleep(pollMs, AbortSignal.any([signal, event.signal])).catch(() => undefined);
      if (event.signal.aborted) await clock.sleep(settleMs, signal).catch(() => undefined);
      if (!event.signal.aborted || watcher === undefined) {
        // Quiet for a whole poll: watch anew, since the folder itself may be another one by now.
        watcher?.close();
        watcher = await watchAnew();
      }
      event = new AbortController();
      if (!signal.aborted) yield;
    }
  } finally {
    watcher?.close();
  }
}

async function startWatcher(path: string, recursive: boolean, onEvent: () => void): Promise<FSWatcher | undefined> {
  try {
    const isFolder = (await stat(path)).isDirectory();
    const watcher = watch(
      isFolder ? path : dirname(path),
      { recursive: isFolder && recursive, persistent: false },
      onEvent,
    );
    watcher.on('error', onEvent);
    return watcher;
  } catch {
    return undefined; // not there at the moment: the poll finds it when it comes
  }
}
