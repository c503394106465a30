import type { PolicyProblem } from './problem.ts';
import type { SnapshotSource } from './snapshot-source.ts';

/** A policy by name. */
export interface PolicySource {
  /** What requests choose it by. */
  readonly name: string;
  /** Folder with .rego files and data.json or data.yaml documents, or one .rego file; or what reads it from elsewhere. */
  readonly path: string | SnapshotSource;
  /** Slash-separated path of the rule that decides, such as `envoy/authz/allow`. */
  readonly entrypoint: string;
  /** Whether its evaluations stand back where others want the processor. Default false. */
  readonly givesWay?: boolean;
}

/** What one policy is doing. */
export interface PolicyStatus {
  /** `active`: decides. `not_active`: nothing was loaded yet, so that every request is denied. */
  readonly state: 'active' | 'not_active';
  /** Digest of the snapshot in force, sha256 in hex. */
  readonly digest?: string;
  /** When it came into force, milliseconds since the epoch. */
  readonly activatedAt?: number;
  /** Why the files as they are now are not in force; absent when they are. */
  readonly lastError?: PolicyLoadError;
}

export interface PolicyLoadError {
  /** Digest of the snapshot that was refused; absent when the folder could not be read. */
  readonly digest?: string;
  readonly message: string;
  /** Every mistake with its place; empty when the folder could not be read or the module not loaded. */
  readonly problems: readonly PolicyProblem[];
}
