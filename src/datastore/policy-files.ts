import { hash } from 'node:crypto';
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SvidgateError, writeFileAtomic } from '../core/index.ts';

/**
 * A few files of each policy: `FOLDER/NAME-KEY`, both hashed, so that no text of anybody else is part of a path; 0600 in a
 * folder 0700.
 */
export interface PolicyFiles {
  /** The bytes under the policy and the key, or undefined. Throws `file_unreadable`, also for a file over the limit. */
  load(policy: string, key: string): Promise<Uint8Array | undefined>;
  /** Also removes what was used least recently of the same policy, and all of policies that are not configured. */
  save(policy: string, key: string, bytes: Uint8Array): Promise<void>;
  /** Whether there is such a file; it does not count as used. */
  has(policy: string, key: string): Promise<boolean>;
}

export interface PolicyFilesOptions {
  readonly folder: string;
  /** What a file is, for errors. */
  readonly what: string;
  /** Names of the configured policies. */
  readonly policies: Iterable<string>;
  /** Of each policy. */
  readonly maxFiles: number;
  /** Of one file, and of all of one policy. */
  readonly maxBytes: number;
  /** Names in the folder that are of somebody else. Default: none. */
  readonly others?: readonly string[];
}

/** Of a policy's hash: names are few, and a collision only shares the limits. */
const PREFIX_LENGTH = 16;

export function openPolicyFiles(options: PolicyFilesOptions): PolicyFiles {
  const { folder, what, maxFiles, maxBytes, others = [] } = options;
  const configured = new Set([...options.policies].map(prefixOf));
  const fileOf = (policy: string, key: string): string => join(folder, `${prefixOf(policy)}-${hash('sha256', key)}`);
  const save = async (file: string, bytes: Uint8Array): Promise<void> => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFileAtomic(file, bytes, 0o600);
    const files = (await listFiles(folder)).filter(({ name }) => !others.includes(name));
    for (const stale of staleFiles(files, { configured, maxFiles, maxBytes }))
      await rm(join(folder, stale), { force: true, recursive: true });
  };
  let saving: Promise<void> = Promise.resolve();
  return {
    async load(policy, key) {
      const file = fileOf(policy, key);
      try {
        return await readAndTouch(file, maxBytes);
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw new SvidgateError('file_unreadable', `${file} cannot be read`, { cause: error });
      }
    },
    async save(policy, key, bytes) {
      if (bytes.byteLength > maxBytes)
        throw new SvidgateError('too_large', `${what} of more than ${maxBytes} bytes is not kept`);
      // One at a time: temporary files that lie there otherwise are those of a crash, and removed.
      const saved = saving.then(() => save(fileOf(policy, key), bytes));
      saving = saved.catch(() => undefined);
      await saved;
    },
    async has(policy, key) {
      try {
        return (await lstat(fileOf(policy, key))).isFile();
      } catch {
        return false;
      }
    },
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

interface StoredFile {
  readonly name: string;
  readonly bytes: number;
  readonly usedAt: number;
}

interface Limits {
  /** Prefixes of the configured policies. */
  readonly configured: ReadonlySet<string>;
  readonly maxFiles: number;
  readonly maxBytes: number;
}

/** The names of what has to go. */
function staleFiles(files: readonly StoredFile[], limits: Limits): readonly string[] {
  const kept = new Map<string, { readonly files: number; readonly bytes: number }>();
  const newestFirst = files.toSorted((a, b) => b.usedAt - a.usedAt);
  return newestFirst.flatMap(({ name, bytes }) => {
    const prefix = name.slice(0, PREFIX_LENGTH);
    const before = kept.get(prefix) ?? { files: 0, bytes: 0 };
    const after = { files: before.files + 1, bytes: before.bytes + bytes };
    if (!limits.configured.has(prefix) || after.files > limits.maxFiles || after.bytes > limits.maxBytes) return [name];
    kept.set(prefix, after);
    return [];
  });
}

function prefixOf(policy: string): string {
  return hash('sha256', policy).slice(0, PREFIX_LENGTH);
}

async function listFiles(folder: string): Promise<readonly StoredFile[]> {
  const names = await readdir(folder);
  return await Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await lstat(join(folder, name));
      return { name, bytes: size, usedAt: mtimeMs };
    }),
  );
}

/** Its time says when it was used last. */
async function readAndTouch(path: string, maxBytes: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`);
    const now = new Date();
    await file.utimes(now, now);
    return await file.readFile();
  } finally {
    await file.close();
  }
}
