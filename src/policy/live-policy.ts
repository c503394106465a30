import { join } from 'node:path';
import {
  describeError,
  SvidgateError,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import { DecisionCache } from './decision-cache.ts';
import type { Evaluator } from './evaluator.ts';
import type { InputNeeds } from './input-needs.ts';
import type { PolicyData } from './policy-data.ts';
import type { PolicyLoader } from './policy-loader.ts';
import type { PolicyLoadError, PolicySource, PolicyStatus } from './policy-status.ts';
import type { PolicyProblem } from './problem.ts';
import { folderSource, type PolicySnapshot, type SnapshotSource } from './snapshot-source.ts';

export interface LivePolicyOptions {
  readonly clock: Clock;
  /** Adds the policy's name. */
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly loader: PolicyLoader;
  /** The status changed. */
  readonly onChange: () => void;
}

export interface ActivePolicy {
  readonly evaluator: Evaluator;
  /** What of the input it can look at. */
  readonly needs: InputNeeds;
  /** Absent when its answers depend on more than its input. */
  readonly decisions?: DecisionCache;
  readonly digest: string;
  /** See PolicySnapshot. */
  readonly revision?: string;
  /** JSON text of the base documents. */
  readonly data: Uint8Array;
  readonly activatedAt: number;
}

/** How many mistakes of one snapshot are logged, so that a broken file does not flood the log; status has all. */
const MAX_LOGGED_PROBLEMS = 20;

/** One policy by name: what decides now, and the source it follows. */
export class LivePolicy {
  readonly #source: PolicySource;
  readonly #origin: SnapshotSource;
  readonly #options: LivePolicyOptions;
  readonly #draining = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #active: ActivePolicy | undefined;
  #data: Watchable<PolicyData> | undefined;
  #lastError: PolicyLoadError | undefined;
  /** What was refused for good: the same bytes give the same mistakes. */
  #refusedDigest: string | undefined;

  constructor(source: PolicySource, options: LivePolicyOptions) {
    this.#source = source;
    this.#origin = typeof source.path === 'string' ? folderSource(source.path, options.clock) : source.path;
    this.#options = options;
  }

  /** What decides at this moment. Calls begun on it end on it, also after a swap. */
  get active(): ActivePolicy | undefined {
    return this.#active;
  }

  get status(): PolicyStatus {
    const lastError = this.#lastError === undefined ? {} : { lastError: this.#lastError };
    if (this.#active === undefined) return { state: 'not_active', ...lastError };
    const { digest, activatedAt } = this.#active;
    return { state: 'active', digest, activatedAt, ...lastError };
  }

  /** What is in force. It is parsed only once somebody has asked for it: it can be large. */
  get data(): ReadonlyWatchable<PolicyData> {
    this.#data ??= new Watchable(parseData(this.#active?.data));
    return this.#data;
  }

  /** Reloads whenever the source changes, until the signal is aborted. */
  async follow(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#origin.changes(signal)) {
      await this.reload(signal);
    }
  }

  /** Brings the files as they are now into force, or keeps what is in force and says why. Never rejects. */
  async reload(signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.#closing.signal]);
    let snapshot: PolicySnapshot | undefined;
    try {
      snapshot = await this.#origin.read(either);
      if (snapshot.digest === this.#refusedDigest) return;
      this.#refusedDigest = undefined;
      if (snapshot.digest === this.#active?.digest) return this.#setError(undefined);
      await this.#activate(snapshot, either);
    } catch (error) {
      if (either.aborted) return;
      const failure = SvidgateError.from(error);
      // Anything but a refusal may pass by itself, and is tried again at the next look.
      if (failure.code === 'policy_invalid') this.#refusedDigest = snapshot?.digest;
      const message = failure.code === 'internal' ? describeError(failure) : failure.message;
      this.#fail({ message, problems: [] }, snapshot?.digest);
    }
  }

  /** Ends the threads at once; open calls get an error. */
  async close(): Promise<void> {
    this.#closing.abort();
    const active = this.#active;
    this.#active = undefined;
    await Promise.all([active?.evaluator.close(), ...this.#draining]);
  }

  async #activate(snapshot: PolicySnapshot, signal: AbortSignal): Promise<void> {
    const { clock, logger, metrics, loader } = this.#options;
    const { entrypoint, name } = this.#source;
    const { digest } = snapshot;
    const startedAt = clock.now();
    const loaded = await loader.load(snapshot, entrypoint, signal);
    if (loaded.kind === 'refused') {
      this.#refusedDigest = digest;
      this.#fail({ message: 'the policy does not compile', problems: loaded.problems }, digest);
      return;
    }
    this.#logProblems(loaded.warnings, 'policy warning');
    const { evaluator, data, origin, needs, isPure } = loaded;
    if (signal.aborted) return await evaluator.close();
    const old = this.#active;
    const decisions = isPure ? { decisions: new DecisionCache() } : {};
    const revision = snapshot.revision === undefined ? {} : { revision: snapshot.revision };
    this.#active = { evaluator, needs, ...decisions, digest, ...revision, data, activatedAt: clock.now() };
    if (old !== undefined) this.#drain(old.evaluator);
    if (old === undefined || Buffer.compare(old.data, data) !== 0) this.#data?.set(parseData(data));
    const durationMs = clock.now() - startedAt;
    logger.info({ digest, entrypoint, duration_ms: durationMs, reason: origin }, 'policy activated');
    metrics.count('svidgate_policy_activations_total', { policy: name, result: 'activated' });
    this.#setError(undefined);
    await loaded.keep();
  }

  #drain(evaluator: Evaluator): void {
    const stop = (): void => void evaluator.close();
    this.#closing.signal.addEventListener('abort', stop);
    const drained = evaluator.drain().finally(() => {
      this.#closing.signal.removeEventListener('abort', stop);
      this.#draining.delete(drained);
    });
    this.#draining.add(drained);
  }

  /** Tells of a failure once, not at each look at the unchanged files. */
  #fail(error: PolicyLoadError, digest: string | undefined): void {
    const { logger, metrics } = this.#options;
    const last = this.#lastError;
    if (last !== undefined && last.message === error.message && last.digest === digest) return;
    const policy = this.#source.name;
    metrics.count('svidgate_policy_activations_total', { policy, result: 'refused' });
    if (this.#active !== undefined) metrics.count('svidgate_reload_failures_total', { source: 'policy' });
    const outcome = this.#active === undefined ? 'every request is denied' : 'the last good policy stays in force';
    logger.warn({ reason: error.message, ...(digest === undefined ? {} : { digest }) }, `policy refused, ${outcome}`);
    this.#logProblems(error.problems, 'policy mistake');
    this.#setError({ ...error, ...(digest === undefined ? {} : { digest }) });
  }

  #logProblems(problems: readonly PolicyProblem[], message: string): void {
    for (const { code, message: reason, file, line, column } of problems.slice(0, MAX_LOGGED_PROBLEMS)) {
      const place = file === '' ? {} : { file: join(this.#origin.description, file), line, column };
      this.#options.logger.warn({ error_code: code, reason, ...place }, message);
    }
  }

  #setError(error: PolicyLoadError | undefined): void {
    this.#lastError = error;
    this.#options.onChange();
  }
}

/** The text is the compiler's own. */
function parseData(text: Uint8Array | undefined): PolicyData {
  if (text === undefined) return { kind: 'pending' };
  return { kind: 'known', data: JSON.parse(new TextDecoder().decode(text)) as unknown };
}
