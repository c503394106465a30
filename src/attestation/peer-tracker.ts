import { closeSync } from 'node:fs';
import { SvidgateError } from '../core/index.ts';
import type { IdentifyPeer, PeerProcess } from '../transport/index.ts';
import type { Kernel, PeerCredentials } from './kernel.ts';
import { readExecutableFile, readOwner, readProcessImage, readStartTime, type ProcessImage } from './process-files.ts';

/** A caller as it was when it connected. */
export interface TrackedProcess extends PeerProcess {
  /** What it ran at accept; undefined when its pid is 0, so that we cannot look. */
  readonly image: ProcessImage | undefined;
  /** Throws `attestation_failed` unless the process that connected still lives and runs what it ran then. */
  assertAlive(): void;
  /** The same, but looks once in a turn of the event loop: what a connection's streams are pushed at one moment is one moment. */
  assertAliveInTurn(): void;
}

export interface PeerTracker {
  /** For the transport: reads the kernel's credentials and what the process runs at this moment. */
  readonly identify: IdentifyPeer;
  /** The tracked process behind a peer of this tracker. Throws `attestation_failed` for any other. */
  trackedProcess(peer: PeerProcess): TrackedProcess;
  /**
   * Any process, without a connection, to see what it would be taken for; to be closed. Throws `not_found` when there
   * is none.
   */
  observe(pid: number): TrackedProcess;
  close(): void;
}

/** How soon the end of a process is seen while it sends nothing. What is asked or pushed is checked at once. */
const WATCH_INTERVAL_MS = 250;
/** pid_t. */
const MAX_PID = 2 ** 31 - 1;

/**
 * Holds on to each caller by a pidfd, or where the kernel has none by pid and start time, so that neither a reused pid
 * nor a passed descriptor is taken for the process that connected.
 */
export function createPeerTracker(kernel: Kernel): PeerTracker {
  const tracked = new Set<Tracked>();
  const watch = setInterval(() => {
    const watched = [...tracked];
    const ended = kernel.endedProcesses(watched.flatMap(({ pidfd }) => pidfd ?? []));
    for (const process of watched) process.check(ended);
  }, WATCH_INTERVAL_MS);
  watch.unref();

  const track = (who: TrackedIds): Tracked => {
    const process = new Tracked({ ...who, kernel, onClose: (closed) => tracked.delete(closed) });
    try {
      process.readImage();
      process.assertAlive();
    } catch (error) {
      process.close();
      throw error;
    }
    tracked.add(process);
    return process;
  };

  return {
    identify(fileDescriptor) {
      const credentials = kernel.peerCredentials(fileDescriptor);
      return track({ ...credentials, pidfd: kernel.peerPidfd(fileDescriptor) });
    },
    trackedProcess(peer) {
      if (peer instanceof Tracked) return peer;
      throw new SvidgateError('attestation_failed', 'the caller was not identified by the kernel');
    },
    observe(pid) {
      if (!Number.isInteger(pid) || pid <= 0 || pid > MAX_PID) throw noProcess(pid);
      const pidfd = kernel.processPidfd(pid);
      return track({ pid, ...ownerOf(pid, pidfd), pidfd });
    },
    close() {
      clearInterval(watch);
      for (const process of tracked) process.close();
    },
  };
}

interface TrackedIds extends PeerCredentials {
  readonly pidfd: number | undefined;
}

/** The pidfd, if any, is closed when there is no such process. */
function ownerOf(pid: number, pidfd: number | undefined): { readonly uid: number; readonly gid: number } {
  try {
    return readOwner(pid);
  } catch (error) {
    if (pidfd !== undefined) closeSync(pidfd);
    throw noProcess(pid, error);
  }
}

function noProcess(pid: number, cause?: unknown): SvidgateError {
  return new SvidgateError('not_found', `there is no process ${pid}`, { cause });
}

class Tracked implements TrackedProcess {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly pidfd: number | undefined;
  image: ProcessImage | undefined;
  readonly #kernel: Kernel;
  readonly #onClose: (process: Tracked) => void;
  readonly #exit = new AbortController();
  #closed = false;
  /** Whether it was looked at in this turn of the event loop. */
  #isSeen = false;

  constructor(options: TrackedIds & { readonly kernel: Kernel; readonly onClose: (process: Tracked) => void }) {
    this.pid = options.pid;
    this.uid = options.uid;
    this.gid = options.gid;
    this.pidfd = options.pidfd;
    this.#kernel = options.kernel;
    this.#onClose = options.onClose;
  }

  get exited(): AbortSignal {
    return this.#exit.signal;
  }

  readImage(): void {
    if (this.pid !== 0) this.image = readProcessImage(this.pid);
  }

  assertAlive(): void {
    if (this.#closed) throw ended();
    if (this.pidfd !== undefined) this.check(this.#kernel.endedProcesses([this.pidfd]));
    else this.check(new Set());
    this.#exit.signal.throwIfAborted();
    if (this.image?.file !== undefined && !this.#runsSameFile(this.image.file)) throw changed();
  }

  assertAliveInTurn(): void {
    if (this.#isSeen && !this.#closed && !this.#exit.signal.aborted) return;
    this.assertAlive();
    this.#isSeen = true;
    setImmediate(() => (this.#isSeen = false));
  }

  /** Takes note of the end of the process. */
  check(endedPidfds: ReadonlySet<number>): void {
    if (this.#closed || this.#exit.signal.aborted) return;
    const hasEnded = this.pidfd === undefined ? this.#startedAnew() : endedPidfds.has(this.pidfd);
    if (hasEnded) this.#exit.abort(ended());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.pidfd !== undefined) closeSync(this.pidfd);
    this.#onClose(this);
    this.#exit.abort(ended()); // for the work that nobody waits for any more
  }

  /** An open connection can be kept over execve(2). */
  #runsSameFile(file: string): boolean {
    try {
      return readExecutableFile(this.pid) === file;
    } catch {
      return false;
    }
  }

  /** Without a pidfd: the pid is gone, or is another process's by now. */
  #startedAnew(): boolean {
    if (this.pid === 0 || this.image === undefined) return false;
    try {
      return readStartTime(this.pid) !== this.image.startTime;
    } catch {
      return true;
    }
  }
}

function ended(): SvidgateError {
  return new SvidgateError('attestation_failed', 'the process that connected has ended');
}

function changed(): SvidgateError {
  return new SvidgateError('attestation_failed', 'the caller changed its executable');
}
