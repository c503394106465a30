import { fileChanges, type Clock, type ReadonlyWatchable } from '../core/index.ts';
import type { PolicyFiles } from './rego-compiler.ts';
import { readSnapshot } from './snapshot.ts';

/** A policy as it was at one moment, wherever it comes from. */
export interface PolicySnapshot {
  /** What is compiled, and its data. */
  readonly files: PolicyFiles;
  /** The _test.rego files, which are not part of the policy nor of its digest. */
  readonly tests: Readonly<Record<string, string>>;
  /** Over paths and bytes of the files, sha256 in hex. */
  readonly digest: string;
  /** What its bundle calls itself: `revision` of the manifest. Absent without one. */
  readonly revision?: string;
  /** Name of the configured key that its bundle was signed with; absent where nothing was to be verified. */
  readonly signedBy?: string;
  /** SHA-256 in hex of that key and of what its signatures count for. */
  readonly verifiedBy?: string;
  /** A module compiled by OPA, where the rules of its entrypoints are in no Rego of the bundle. `files` has no modules then. */
  readonly wasm?: { readonly bytes: Uint8Array<ArrayBuffer>; readonly entrypoints: readonly string[] };
}

/** A key whose signatures count. */
export interface SnapshotSigner {
  readonly name: string;
  /** See PolicySnapshot. */
  readonly verifiedBy: string;
}

/** How it stands with a source that is elsewhere. Times in epoch milliseconds. */
export interface SourceStatus {
  readonly kind: 'http' | 'oci';
  /** For people: an address without credentials. */
  readonly description: string;
  /** When it last gave a good bundle, or said that there is no newer one. Over a restart, to the minute. Absent: never. */
  readonly lastContactAt?: number;
  /** When it gave the bundle that is there now. Absent while there is none. */
  readonly lastChangeAt?: number;
  /** Whether that bundle was kept on disk, and the source has not confirmed it since the start. */
  readonly fromDisk: boolean;
  /** Why its last answer, or that there was none, counts for nothing; absent when all is well. */
  readonly lastError?: string;
}

/** Where a policy comes from. */
export interface SnapshotSource {
  /** For people: a path, or an address without credentials. */
  readonly description: string;
  /**
   * The policy as it is now. Throws `policy_invalid` for what is refused for good (the same bytes are refused again), and other
   * codes for what may pass by itself.
   */
  read(signal: AbortSignal): Promise<PolicySnapshot>;
  /** Yields once at the beginning, then whenever read() may give something else, until the signal is aborted. */
  changes(signal: AbortSignal): AsyncIterable<void>;
  /** Whether what it gives has to be signed. After a restart nothing of it counts that was not verified anew. */
  readonly verifies?: boolean;
  /** Whose signatures count now, where it verifies. Throws `file_unreadable` and `policy_invalid`. */
  readonly signers?: (() => Promise<readonly SnapshotSigner[]>) | undefined;
  /** Of a source that can be away. */
  readonly status?: ReadonlyWatchable<SourceStatus>;
}

/** A folder with Rego and data, or one .rego file. */
export function folderSource(path: string, clock: Clock): SnapshotSource {
  return {
    description: path,
    read: () => readSnapshot(path),
    changes: (signal) => fileChanges(path, { clock, signal }),
  };
}
