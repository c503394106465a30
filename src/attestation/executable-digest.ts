import { createHash } from 'node:crypto';
import { statSync, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { abortable } from './abortable.ts';

/** Whose executable to read, and for how long it is of interest. */
export interface DigestRequest {
  readonly pid: number;
  /** Files of one user are hashed one after the other, so that nobody can keep others waiting with large ones. */
  readonly uid: number;
  /** Ends the reading, with its reason as the error. */
  readonly signal: AbortSignal;
}

/** Computes the SHA-256 of what a process runs. */
export interface ExecutableDigests {
  /** Hexadecimal, or undefined when the file is larger than the limit. Throws when it cannot be read. */
  digest(request: DigestRequest): Promise<{ readonly sha256: string | undefined; readonly file: string }>;
}

const MAX_CACHED = 1024;
/** What the event loop does without a break: well under a millisecond. */
const CHUNK_BYTES = 256 * 1024;
/** A file changed this recently may change again without a new time: kernels count in steps of some milliseconds. */
const SETTLED_AFTER_MS = 2000;

/**
 * `maxBytes` bounds what is read. Digests are kept by device, inode, size and times of the file; who asks for a file
 * that is just being hashed for another waits for that.
 */
export function createExecutableDigests(maxBytes: number): ExecutableDigests {
  const cache = new Map<string, string>();
  const underWay = new Map<string, Promise<string>>();
  const inTurn = createTurns();

  /** The digest that somebody else computes right now; undefined when nobody does, or did not come to the end. */
  const shared = async (key: string, signal: AbortSignal): Promise<string | undefined> =>
    abortable(underWay.get(key)?.catch(() => undefined) ?? Promise.resolve(undefined), signal);
  const hashOf = async (key: string, hash: () => Promise<string>, { uid, signal }: DigestRequest): Promise<string> => {
    const sha256 = await shared(key, signal);
    if (sha256 !== undefined) return sha256;
    return inTurn(uid, async () => {
      // Only what has begun is waited for: never what stands in the queue of another user.
      while (underWay.has(key)) {
        const sha256 = await shared(key, signal);
        if (sha256 !== undefined) return sha256;
      }
      const known = cache.get(key);
      if (known !== undefined) return known;
      const running = hash().finally(() => underWay.delete(key));
      underWay.set(key, running);
      return running;
    });
  };

  return {
    async digest(request) {
      const { pid, signal } = request;
      // What is known or under way needs no open file: of a thousand callers at once each would cost three thread hops.
      const seen = identityOf(statSync(`/proc/${pid}/exe`, { bigint: true }));
      const known = cache.get(seen.key) ?? (await shared(seen.key, signal));
      if (known !== undefined) return { sha256: known, file: seen.file };
      const handle = await open(`/proc/${pid}/exe`, 'r');
      try {
        const stats = await handle.stat({ bigint: true });
        const { file, key } = identityOf(stats);
        const { size, ctimeMs } = stats;
        if (size > BigInt(maxBytes)) return { sha256: undefined, file };
        const openedAt = Date.now();
        const hash = (): Promise<string> => hashFile(handle, signal);
        const sha256 = cache.get(key) ?? (await hashOf(key, hash, request));
        if (cache.size >= MAX_CACHED) cache.clear();
        if (openedAt - Number(ctimeMs) > SETTLED_AFTER_MS) cache.set(key, sha256);
        return { sha256, file };
      } finally {
        await handle.close();
      }
    },
  };
}

/** `key` is another one as soon as the file may have other bytes. */
function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): {
  readonly file: string;
  readonly key: string;
} {
  const file = `${dev}:${ino}`;
  return { file, key: `${file}:${size}:${mtimeNs}:${ctimeNs}` };
}

/** With one buffer: those of a stream, a new one for each piece, are as much memory as the file until they are collected. */
async function hashFile(file: FileHandle, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  for (let position = 0; ;) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return hash.digest('hex');
    signal.throwIfAborted();
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** Does the work of one user when all that the user had before it is done. */
function createTurns(): <T>(uid: number, work: () => Promise<T>) => Promise<T> {
  const last = new Map<number, Promise<unknown>>();
  return (uid, work) => {
    const result = (last.get(uid) ?? Promise.resolve()).then(work);
    const settle = async (): Promise<void> => {
      await Promise.allSettled([result]);
      if (last.get(uid) === settled) last.delete(uid);
    };
    const settled = settle();
    last.set(uid, settled);
    return result;
  };
}
