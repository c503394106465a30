import { join } from 'node:path';
import type { DataDirectory } from './data-directory.ts';
import { openPolicyFiles, type PolicyFiles } from './policy-files.ts';

/**
 * What was in force, to go back to, in `policies/history/`. Without a file its state cannot be brought back; whoever may
 * write there decides what is allowed.
 */
export type PolicySnapshots = PolicyFiles;

export interface PolicySnapshotsOptions {
  /** Names of the configured policies. */
  readonly policies: Iterable<string>;
  /** Of each policy. Default 10. */
  readonly maxFiles?: number;
  /** Of one file, and of all of one policy. Default 512 MiB. */
  readonly maxBytes?: number;
}

/** In `policies/`. */
export const SNAPSHOTS_FOLDER = 'history';

const DEFAULT_MAX_FILES = 10;
const DEFAULT_MAX_BYTES = 512 * 2 ** 20;

export function createPolicySnapshots(directory: DataDirectory, options: PolicySnapshotsOptions): PolicySnapshots {
  const { policies, maxFiles = DEFAULT_MAX_FILES, maxBytes = DEFAULT_MAX_BYTES } = options;
  const folder = join(directory.path, 'policies', SNAPSHOTS_FOLDER);
  return openPolicyFiles({ folder, what: 'the files of a policy', policies, maxFiles, maxBytes });
}
