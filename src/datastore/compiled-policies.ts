import { join } from 'node:path';
import type { DataDirectory } from './data-directory.ts';
import { openPolicyFiles, type PolicyFiles } from './policy-files.ts';
import { SNAPSHOTS_FOLDER } from './policy-snapshots.ts';

/** Compiled policies over restarts, in `policies/`. Only a saving: the files may be removed at any time. */
export type CompiledPolicies = Pick<PolicyFiles, 'load' | 'save'>;

export interface CompiledPoliciesOptions {
  /** Names of the configured policies. */
  readonly policies: Iterable<string>;
  /** Of each policy: the one in force and a few to go back to. Default 4. */
  readonly maxFiles?: number;
  /** Of one file, and of all of one policy. Default 128 MiB. */
  readonly maxBytes?: number;
}

const DEFAULT_MAX_FILES = 4;
const DEFAULT_MAX_BYTES = 128 * 2 ** 20;

export function createCompiledPolicies(directory: DataDirectory, options: CompiledPoliciesOptions): CompiledPolicies {
  const { policies, maxFiles = DEFAULT_MAX_FILES, maxBytes = DEFAULT_MAX_BYTES } = options;
  const folder = join(directory.path, 'policies');
  return openPolicyFiles({
    folder,
    what: 'a compiled policy',
    policies,
    maxFiles,
    maxBytes,
    others: [SNAPSHOTS_FOLDER],
  });
}
