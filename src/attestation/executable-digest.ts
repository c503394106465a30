import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/** Computes the SHA-256 of what a process runs. */
export interface ExecutableDigests {
  /** Hexadecimal, or undefined when the file is larger than the limit. Throws when it cannot be read. */
  digest(pid: number): Promise<{ readonly sha256: string | undefined; readonly file: string }>;
}

const MAX_CACHED = 1024;

/** `maxBytes` bounds what is read. Digests are kept by device, inode, size and times of the file. */
export function createExecutableDigests(maxBytes: number): ExecutableDigests {
  const cache = new Map<string, Promise<string>>();
  return {
    async digest(pid) {
      const handle = await open(`/proc/${pid}/exe`, 'r');
      try {
        const { dev, ino, size, mtimeNs, ctimeNs } = await handle.stat({ bigint: true });
        const file = `${dev}:${ino}`;
        if (size > BigInt(maxBytes)) return { sha256: undefined, file };
        const key = `${file}:${size}:${mtimeNs}:${ctimeNs}`;
        const pending =
          cache.get(key) ?? hashFile(handle.createReadStream({ autoClose: false, highWaterMark: 1 << 20 }));
        if (cache.size >= MAX_CACHED) cache.clear();
        cache.set(key, pending);
        return { sha256: await pending.catch((error: unknown) => forget(cache, key, error)), file };
      } finally {
        await handle.close();
      }
    },
  };
}

async function hashFile(content: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of content) hash.update(chunk);
  return hash.digest('hex');
}

function forget(cache: Map<string, Promise<string>>, key: string, error: unknown): never {
  cache.delete(key);
  throw error;
}
