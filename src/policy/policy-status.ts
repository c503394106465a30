import type { GateName, ReplayLimits } from './activation/activation-gate.ts';
import type { PolicyHold } from './activation/policy-event.ts';
import type { TestsRule } from './activation/tests-gate.ts';
import type { PolicyProblem } from './problem.ts';
import type { SnapshotSource, SourceStatus } from './snapshot-source.ts';

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
  /** What its own `_test.rego` files have to say before it comes into force. Default `when_present`. */
  readonly tests?: TestsRule;
  /** Recorded decisions that it is tried on before; default: none. */
  readonly replay?: ReplayLimits;
  /** Whether PolicyEngine.snapshots tells of it: its files then stay in memory. Default false. */
  readonly showsSnapshots?: boolean;
}

/** What one policy is doing. */
export interface PolicyStatus {
  /** `active`: decides. `not_active`: nothing was loaded yet, so that every request is denied. */
  readonly state: 'active' | 'not_active';
  /** Digest of the snapshot in force, sha256 in hex. */
  readonly digest?: string;
  /** What the bundle in force calls itself. */
  readonly revision?: string;
  /** Name of the key that the bundle in force was signed with. */
  readonly signedBy?: string;
  /** When it came into force, milliseconds since the epoch. */
  readonly activatedAt?: number;
  /** An operator brought an earlier state back, and what the source offers waits. */
  readonly hold?: PolicyHold;
  /** Of a source that can be away. */
  readonly source?: SourceStatus;
  /** Why the files as they are now are not in force; absent when they are. */
  readonly lastError?: PolicyLoadError;
}

export interface PolicyLoadError {
  /** Digest of the snapshot that was refused; absent when the folder could not be read. */
  readonly digest?: string;
  /** What refused it. */
  readonly gate: GateName;
  readonly message: string;
  /** Every mistake with its place; empty when the folder could not be read or the module not loaded. */
  readonly problems: readonly PolicyProblem[];
}
