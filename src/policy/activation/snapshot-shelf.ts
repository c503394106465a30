import { describeError, SvidgateError, type Logger, type Metrics } from '../../core/index.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';
import { decodeSnapshot, encodeSnapshot, type KeptSnapshots } from './kept-snapshot.ts';

export interface SnapshotShelfOptions {
  readonly policy: string;
  /** Default: nothing is kept. */
  readonly snapshots?: KeptSnapshots;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** The states of one policy that were in force. */
export interface SnapshotShelf {
  /** Never rejects: without its files a state is in force all the same, and only cannot come back. */
  put(snapshot: PolicySnapshot): Promise<void>;
  /** Throws `not_found`, `conflict` for files that are damaged, `unimplemented` where nothing is kept. */
  take(digest: string): Promise<PolicySnapshot>;
  has(digest: string): Promise<boolean>;
}

export function createSnapshotShelf({ policy, snapshots, logger, metrics }: SnapshotShelfOptions): SnapshotShelf {
  return {
    async put(snapshot) {
      const { digest } = snapshot;
      try {
        await snapshots?.save(policy, digest, encodeSnapshot(snapshot));
      } catch (error) {
        metrics.count('svidgate_policy_history_failures_total', { policy });
        logger.warn({ digest, reason: describeError(error) }, 'policy files not kept: it cannot be rolled back to');
      }
    },
    async take(digest) {
      if (snapshots === undefined) throw new SvidgateError('unimplemented', 'no earlier states are kept');
      const bytes = await snapshots.load(policy, digest);
      const short = digest.slice(0, 12);
      if (bytes === undefined) throw new SvidgateError('not_found', `the files of ${short} are not kept any more`);
      const snapshot = decodeSnapshot(digest, bytes);
      if (snapshot === undefined) throw new SvidgateError('conflict', `the kept files of ${short} are damaged`);
      return snapshot;
    },
    async has(digest) {
      return (await snapshots?.has(policy, digest)) ?? false;
    },
  };
}
