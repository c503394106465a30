import { lstat, mkdir, open, readdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { SvidgateError, writeFileAtomic } from '../core/index.ts';
import type { DataDirectory } from './data-directory.ts';
import { openPrivateFolder } from './private-folder.ts';

/**
 * The last good bundle of each policy that comes from elsewhere: `bundles/NAME`, 0600 in a folder 0700. With it the policy is
 * in force after a restart while its source is away; its time says when the source was last reached.
 */
export interface KeptBundleFiles {
  /** Undefined when there is none. Throws `file_unreadable`, also for one over the limit. */
  load(policy: string): Promise<{ readonly bytes: Uint8Array; readonly touchedAt: number } | undefined>;
  /** Also removes those of policies that are not configured, and what a crash left. */
  save(policy: string, bytes: Uint8Array): Promise<void>;
  touch(policy: string): Promise<void>;
}

export interface KeptBundleFilesOptions {
  /** Names of the configured policies that come from elsewhere. */
  readonly policies: Iterable<string>;
  /** Of one file. Default 1 GiB. */
  readonly maxBytes?: number;
}

const DEFAULT_MAX_BYTES = 2 ** 30;
/** As the configuration has them: none of them is a path, or the name of a temporary file. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

export function createKeptBundleFiles(directory: DataDirectory, options: KeptBundleFilesOptions): KeptBundleFiles {
  const { maxBytes = DEFAULT_MAX_BYTES } = options;
  const folder = join(directory.path, 'bundles');
  const configured = new Set(options.policies);
  const fileOf = (policy: string): string => {
    if (!NAME.test(policy)) throw new SvidgateError('internal', 'the name of a policy is no file name');
    return join(folder, policy);
  };
  const save = async (file: string, bytes: Uint8Array): Promise<void> => {
    await mkdir(directory.path, { recursive: true, mode: 0o700 });
    await openPrivateFolder(folder);
    for (const name of await readdir(folder))
      if (!configured.has(name)) await rm(join(folder, name), { force: true, recursive: true });
    await writeFileAtomic(file, bytes, 0o600);
  };
  let saving: Promise<void> = Promise.resolve();
  return {
    async load(policy) {
      const file = fileOf(policy);
      try {
        return await readWithTime(file, maxBytes);
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw new SvidgateError('file_unreadable', `${file} cannot be read`, { cause: error });
      }
    },
    async save(policy, bytes) {
      if (bytes.byteLength > maxBytes)
        throw new SvidgateError('too_large', `a bundle of more than ${maxBytes} bytes is not kept`);
      // One at a time: temporary files that lie there otherwise are those of a crash, and removed.
      const saved = saving.then(() => save(fileOf(policy), bytes));
      saving = saved.catch(() => undefined);
      await saved;
    },
    async touch(policy) {
      const now = new Date();
      await utimes(fileOf(policy), now, now);
    },
  };
}

async function readWithTime(
  path: string,
  maxBytes: number,
): Promise<{ readonly bytes: Uint8Array; readonly touchedAt: number }> {
  // A pipe would block the start.
  if (!(await lstat(path)).isFile()) throw new Error('it is not a file');
  await using file = await open(path, 'r');
  const { size, mtimeMs } = await file.stat();
  if (size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`);
  return { bytes: await file.readFile(), touchedAt: mtimeMs };
}
