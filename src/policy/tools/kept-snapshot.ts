import { decodeSnapshot, type KeptSnapshots } from '../activation/kept-snapshot.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';

/** The files that were in force under the digest; undefined when they are not kept, or damaged. */
export async function readKeptSnapshot(
  kept: Pick<KeptSnapshots, 'load'>,
  policy: string,
  digest: string,
): Promise<PolicySnapshot | undefined> {
  const bytes = await kept.load(policy, digest);
  return bytes === undefined ? undefined : decodeSnapshot(digest, bytes);
}
