import { SvidgateError } from '../core/index.ts';
import { createAccountNames } from './account-names.ts';
import { createExecutableDigests, type ExecutableDigests } from './executable-digest.ts';
import type { TrackedProcess } from './peer-tracker.ts';
import { isPathGenuine, readSupplementaryGroups } from './process-files.ts';
import type { WorkloadAttestor } from './workload-attestor.ts';

export interface UnixAttestorOptions {
  /** Also `unix:path` and `unix:sha256`. */
  readonly discoverWorkloadPath: boolean;
  /** Whether to give `unix:sha256`; an executable that is larger than the limit gets none. */
  readonly executableDigest:
    { readonly kind: 'off' } | { readonly kind: 'unlimited' } | { readonly kind: 'limited'; readonly maxBytes: number };
}

/** A large executable on a slow disk, behind others of the same user. */
const TIMEOUT_MS = 30_000;

/**
 * `unix:` selectors: user and groups as the kernel gives them, their names from the files in /etc, path and SHA-256 of
 * the executable. A caller outside of our pid namespace (pid 0) has those of its user and group alone.
 */
export function createUnixAttestor(options: UnixAttestorOptions): WorkloadAttestor {
  const { executableDigest: limit } = options;
  const maxBytes = limit.kind === 'limited' ? limit.maxBytes : Number.MAX_SAFE_INTEGER;
  const digests = limit.kind === 'off' ? undefined : createExecutableDigests(maxBytes);
  const users = createAccountNames('/etc/passwd');
  const groups = createAccountNames('/etc/group');

  return {
    name: 'unix',
    timeoutMs: TIMEOUT_MS,
    async attest(process, signal) {
      const [userNames, groupNames] = await Promise.all([users(), groups()]);
      const named = (kind: string, name: string | undefined): string[] =>
        name === undefined ? [] : [`${kind}:${name}`];
      const supplementary = process.image === undefined ? [] : readSupplementaryGroups(process.pid);
      return [
        `uid:${process.uid}`,
        ...named('user', userNames.get(String(process.uid))),
        `gid:${process.gid}`,
        ...named('group', groupNames.get(String(process.gid))),
        ...(options.discoverWorkloadPath ? await executableValues(process, { digests, signal }) : []),
        ...supplementary.map((id) => `supplementary_gid:${id}`),
        ...supplementary.flatMap((id) => named('supplementary_group', groupNames.get(id))),
      ];
    },
  };
}

async function executableValues(
  process: TrackedProcess,
  { digests, signal }: { readonly digests: ExecutableDigests | undefined; readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { pid, uid, image } = process;
  if (image?.path === undefined) return [];
  const path = isPathGenuine(pid, image) ? [`path:${image.path}`] : [];
  if (digests === undefined) return path;
  const { sha256, file } = await digests.digest({ pid, uid, signal });
  if (file !== image.file) throw new SvidgateError('attestation_failed', 'the caller changed its executable');
  return sha256 === undefined ? path : [...path, `sha256:${sha256}`];
}
