import { SvidgateError, type Clock, type Logger, type Metrics, type ReadonlyWatchable } from '../core/index.ts';
import type { Decision } from './decision.ts';
import type { EvaluationOptions } from './evaluation.ts';
import type { PolicyProblem } from './problem.ts';

/** A policy on disk. */
export interface PolicySource {
  /** What requests choose it by. */
  readonly name: string;
  /** Folder with .rego files and data.json or data.yaml documents, or one .rego file. */
  readonly path: string;
  /** Slash-separated path of the rule that decides, such as `envoy/authz/allow`. */
  readonly entrypoint: string;
}

export interface PolicyEngineOptions {
  readonly policies: readonly PolicySource[];
  /** The longest time from decide() to its answer, in milliseconds, also where the caller's deadline is later. */
  readonly evalTimeoutMs: number;
  /** How many calls of one policy may wait or be evaluated at once; the next ones are denied as overloaded. Default 1024. */
  readonly queueLimit?: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
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

export interface PolicyEngine {
  /**
   * Loads every policy once. One that cannot be loaded stays `not_active`, is logged and denies; the engine runs all
   * the same. Rejects only when the signal is aborted.
   */
  start(signal: AbortSignal): Promise<void>;
  /** Follows the policy folders until the signal is aborted; then ends all threads and every open call. After start(). */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Decides one request. `input` is the JSON text of the input document in UTF-8; numbers keep their text. Never
   * rejects, and settles by the deadline.
   */
  decide(name: string, input: Uint8Array, options: EvaluationOptions): Promise<Decision>;
  /** The state of every configured policy by name. */
  readonly status: ReadonlyWatchable<ReadonlyMap<string, PolicyStatus>>;
}

export function createPolicyEngine(_options: PolicyEngineOptions): PolicyEngine {
  throw new SvidgateError('internal', 'the policy engine is not there yet');
}
