import {
  createBackoff,
  describeError,
  SvidgateError,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { ActivationGate } from './activation/activation-gate.ts';
import type { KeptSnapshots } from './activation/kept-snapshot.ts';
import { failureOf, loadCandidate, passGates, type PassOptions, type Refusal } from './activation/pass-gates.ts';
import { holdOf, type PolicyEvent, type PolicyHistory, type PolicyHold } from './activation/policy-event.ts';
import { PolicyRecord } from './activation/policy-record.ts';
import { PolicySlot, type ActivePolicy, type LiveSnapshots } from './activation/policy-slot.ts';
import { checkSigner, eventsToGoBackTo, rollbackTarget } from './activation/rollback-target.ts';
import { createSnapshotShelf, type SnapshotShelf } from './activation/snapshot-shelf.ts';
import { logProblems, tellRefusal, type RefusalContext } from './activation/tell-refusal.ts';
import { digestOfTests } from './activation/tests-gate.ts';
import { TurnTaker } from './activation/turn-taker.ts';
import type { PolicyData } from './policy-data.ts';
import type { LoadedPolicy, PolicyLoader } from './policy-loader.ts';
import type { PolicyLoadError, PolicySource, PolicyStatus } from './policy-status.ts';
import { formatProblem } from './problem.ts';
import type { RegoCompiler } from './rego-compiler.ts';
import { pathSource } from './path-source.ts';
import type { PolicySnapshot, SnapshotSource } from './snapshot-source.ts';

/** What outlives the process, so that an earlier state can come back. */
export interface PolicyMemory {
  readonly history: PolicyHistory;
  readonly snapshots: KeptSnapshots;
}

export interface LivePolicyOptions {
  readonly clock: Clock;
  /** Adds the policy's name. */
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly loader: PolicyLoader;
  readonly compiler: RegoCompiler;
  /** Default: a restart knows nothing of what was in force, and nothing can be rolled back. */
  readonly memory?: PolicyMemory;
  /** Needed where the policy has `replay`. */
  readonly activationGate?: ActivationGate;
  /** The status changed. */
  readonly onChange: () => void;
}

/** Who changes what is in force, and why. */
export interface OperatorRequest {
  /** As in PolicyEvent. */
  readonly by: string;
  readonly reason?: string;
  /** Called when the change is certain but for being recorded, with what will be in force. What it throws prevents it. */
  readonly beforeChange?: (digest: string) => void;
}

export interface RollbackRequest extends OperatorRequest {
  /** Beginning of the digest to go back to. Default: the state before the one in force. */
  readonly digest?: string;
  /** Whether recorded decisions are left alone. Default false. */
  readonly skipsReplay?: boolean;
}

/** What an event says of a state. */
type StateFields = Pick<PolicySnapshot, 'digest' | 'revision' | 'signedBy'>;

/** How many mistakes the error of a rollback names; the log has more. */
const NAMED_PROBLEMS = 3;

/** One policy by name: what decides now, and the source it follows. */
export class LivePolicy {
  readonly #source: PolicySource;
  readonly #origin: SnapshotSource;
  readonly #options: LivePolicyOptions;
  readonly #slot: PolicySlot;
  readonly #record: PolicyRecord;
  readonly #shelf: SnapshotShelf;
  readonly #turns = new TurnTaker();
  readonly #closing = new AbortController();
  readonly #backoff = createBackoff({ baseMs: 5000, maxMs: 300_000 });
  readonly #unsubscribe: (() => void) | undefined;
  #hold: PolicyHold | undefined;
  #lastError: PolicyLoadError | undefined;
  /** What was refused for good: the same bytes give the same mistakes. */
  #refused: string | undefined;
  #retry: AbortController | undefined;

  constructor(source: PolicySource, options: LivePolicyOptions) {
    this.#source = source;
    this.#origin = typeof source.path === 'string' ? pathSource(source.path, { clock: options.clock }) : source.path;
    this.#options = options;
    this.#slot = new PolicySlot(source);
    const own = { ...options, policy: source.name };
    this.#record = new PolicyRecord({ ...own, ...options.memory });
    this.#shelf = createSnapshotShelf({ ...own, ...options.memory });
    this.#unsubscribe = this.#origin.status?.subscribe(options.onChange);
  }

  /** What decides at this moment. Calls begun on it end on it, also after a swap. */
  get active(): ActivePolicy | undefined {
    return this.#slot.active;
  }

  get data(): ReadonlyWatchable<PolicyData> {
    return this.#slot.data;
  }

  get snapshots(): ReadonlyWatchable<LiveSnapshots> {
    return this.#slot.snapshots;
  }

  get status(): PolicyStatus {
    const source = this.#origin.status?.value;
    const more = {
      ...(this.#hold === undefined ? {} : { hold: this.#hold }),
      ...(source === undefined ? {} : { source }),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
    if (this.active === undefined) return { state: 'not_active', ...more };
    const { digest, activatedAt } = this.active;
    return { state: 'active', digest, ...bundleFields(this.active), activatedAt, ...more };
  }

  /** What became of it, oldest first. */
  get events(): readonly PolicyEvent[] {
    return this.#record.events;
  }

  /** Whether the files of a state are there to go back to. */
  async isKept(digest: string): Promise<boolean> {
    return await this.#shelf.has(digest);
  }

  /** Brings what was in force before the restart into force. Once, before all else. Never rejects. */
  async restore(signal: AbortSignal): Promise<void> {
    await this.#turns.take(async () => {
      await this.#record.open();
      await this.#restore(this.#untilClosed(signal));
    });
  }

  /** Reloads whenever the source changes, until the signal is aborted. */
  async follow(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#origin.changes(signal)) {
      await this.reload(signal);
    }
  }

  /** Brings what the source offers now into force, or keeps what is in force and says why. Never rejects. */
  async reload(signal: AbortSignal): Promise<void> {
    await this.#turns.takeInterruptibly(this.#untilClosed(signal), (either) => this.#reload(either));
  }

  /**
   * Brings an earlier state back into force. It stays until the source offers another one than those that it was rolled
   * back from. Throws `not_found`, `conflict`, `policy_invalid` when a gate refuses it, and what prevents that it is
   * recorded; then nothing has changed.
   */
  async rollback(request: RollbackRequest, signal: AbortSignal): Promise<void> {
    const either = this.#untilClosed(signal);
    await this.#turns.interrupt(async () => {
      const events = await eventsToGoBackTo(this.events, this.#origin);
      const target = rollbackTarget(events, this.active?.digest, request.digest);
      const snapshot = await this.#shelf.take(target);
      await checkSigner(snapshot, this.#origin);
      const { skipsReplay = false } = request;
      const options = { ...this.#passOptions(either), skipsReplay };
      const result = await passGates(snapshot, this.#options, options);
      if (result.kind === 'refused') throw this.#refuseRollback(result.refusal, snapshot, request);
      const { loaded, testsPassed } = result;
      const more = { heldFrom: this.#rolledBackFrom(target), ...(skipsReplay ? { forced: true } : {}) };
      const event = this.#event('rolled_back', snapshot, { ...aboutRequest(request), ...more });
      try {
        either.throwIfAborted();
        request.beforeChange?.(target);
        await this.#record.append(event);
      } catch (error) {
        await loaded.evaluator.close();
        throw error;
      }
      this.#refused = undefined;
      this.#setHold(holdOf(event));
      this.#put(loaded, snapshot);
      this.#setError(undefined);
      await loaded.keep(testsPassed);
    });
  }

  /** Ends the hold of a rollback, and tries what the source offers. Throws `conflict` without a hold, and as rollback(). */
  async release(request: OperatorRequest, signal: AbortSignal): Promise<void> {
    await this.#turns.interrupt(async () => {
      const hold = this.#hold;
      if (hold === undefined) throw new SvidgateError('conflict', `no rollback holds policy ${this.#source.name}`);
      request.beforeChange?.(hold.digest);
      await this.#record.append(this.#event('released', this.active ?? hold, aboutRequest(request)));
      this.#refused = undefined;
      this.#setHold(undefined);
      await this.#reload(this.#untilClosed(signal));
      this.#options.onChange();
    });
  }

  /** Ends the threads at once; open calls get an error. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#unsubscribe?.();
    await this.#slot.close();
    await this.#turns.idle();
    await this.#record.close();
  }

  async #reload(signal: AbortSignal): Promise<void> {
    this.#retry?.abort();
    let snapshot: PolicySnapshot;
    try {
      snapshot = await this.#origin.read(signal);
    } catch (error) {
      return signal.aborted ? undefined : this.#fail(failureOf(error, 'source'));
    }
    if (this.#hold?.from.includes(snapshot.digest) === true) return this.#setError(this.#lossOfHeld());
    // Tests are no part of the digest, but may be why it is refused.
    const offered = `${snapshot.digest} ${digestOfTests(snapshot) ?? ''}`;
    if (offered === this.#refused) return;
    this.#refused = undefined;
    if (snapshot.digest === this.active?.digest) {
      this.#endHold(snapshot);
      return this.#setError(undefined);
    }
    try {
      const refusal = await this.#activate(snapshot, signal);
      if (refusal?.isFinal === true) this.#refused = offered;
      if (refusal !== undefined) this.#fail(refusal, snapshot);
    } catch (error) {
      if (!signal.aborted) this.#fail(failureOf(error, 'load'), snapshot);
    }
  }

  async #activate(snapshot: PolicySnapshot, signal: AbortSignal): Promise<Refusal | undefined> {
    const startedAt = this.#options.clock.now();
    const result = await passGates(snapshot, this.#options, this.#passOptions(signal));
    if (result.kind === 'refused') return result.refusal;
    this.#setHold(undefined);
    this.#put(result.loaded, snapshot, startedAt);
    this.#setError(undefined);
    // Deciding comes first: the rest may fail.
    await this.#shelf.put(snapshot);
    await this.#record.note(this.#event('activated', snapshot, { by: 'source' }));
    await result.loaded.keep(result.testsPassed);
    return undefined;
  }

  /** What was in force last, if it came from the same place. It passed the gates then; only the compiler is asked again. */
  async #restore(signal: AbortSignal): Promise<void> {
    const { last } = this.#record;
    const { description } = this.#origin;
    if (last?.digest === undefined || last.source !== description || last.entrypoint !== this.#source.entrypoint)
      return;
    this.#setHold(holdOf(last));
    // What was signed may not be any more, by the keys of now. An operator's rollback stands, by these keys.
    if (this.#origin.verifies === true && this.#hold === undefined) return;
    const startedAt = this.#options.clock.now();
    try {
      const snapshot = await this.#shelf.take(last.digest);
      await checkSigner(snapshot, this.#origin);
      const loaded = await loadCandidate(snapshot, this.#options, { source: this.#source, signal });
      if (loaded.kind === 'refused') throw new SvidgateError('policy_invalid', loaded.refusal.message);
      this.#put(loaded, snapshot, startedAt);
      this.#setError(undefined);
      await loaded.keep();
    } catch (error) {
      if (signal.aborted) return;
      const fields = { digest: last.digest, reason: describeError(error) };
      this.#options.logger.warn(fields, 'policy of before the restart not used');
      this.#setError(this.#lossOfHeld());
    }
  }

  /** What a rollback brought back cannot be loaded any more: better nothing than what an operator wanted out of force. */
  #lossOfHeld(): PolicyLoadError | undefined {
    if (this.#hold === undefined || this.active !== undefined) return undefined;
    const { digest } = this.#hold;
    const remedy = `\`svidgate policy rollback ${this.#source.name} --undo\` takes what the source offers`;
    const message = `it was rolled back to ${digest.slice(0, 12)}, which cannot be loaded any more; ${remedy}`;
    return { gate: 'load', message, problems: [], digest };
  }

  /** What is in force, was refused, and was rolled back from before. */
  #rolledBackFrom(target: string): readonly string[] {
    const all = [...(this.#hold?.from ?? []), this.active?.digest, this.#lastError?.digest];
    return [...new Set(all)].filter((digest) => digest !== undefined && digest !== target) as string[];
  }

  #put(loaded: LoadedPolicy, snapshot: PolicySnapshot, startedAt = this.#options.clock.now()): void {
    const { clock, logger, metrics } = this.#options;
    const { name, entrypoint } = this.#source;
    const { digest } = snapshot;
    logProblems(loaded.warnings, 'policy warning', this.#context());
    this.#slot.put(loaded, snapshot, clock.now());
    const fields = { digest, entrypoint, duration_ms: clock.now() - startedAt, reason: loaded.origin };
    logger.info(fields, 'policy activated');
    metrics.count('svidgate_policy_activations_total', { policy: name, result: 'activated' });
  }

  /** Tells of a failure once, not at each look at the unchanged files. */
  #fail(refusal: Refusal, snapshot?: StateFields): void {
    if (!refusal.isFinal && refusal.gate !== 'source') this.#retryLater();
    const { gate, message, problems } = refusal;
    const { digest } = snapshot ?? {};
    const last = this.#lastError;
    if (last !== undefined && last.message === message && last.digest === digest) return;
    const refused = { ...(digest === undefined ? {} : { digest }), isReload: this.active !== undefined };
    tellRefusal(refusal, refused, this.#context());
    const newest = this.events.at(-1);
    const isKnown = newest?.kind === 'refused' && newest.reason === message && newest.digest === digest;
    if (!isKnown) void this.#record.note(this.#event('refused', snapshot, { by: 'source', gate, reason: message }));
    this.#setError({ gate, message, problems, ...(digest === undefined ? {} : { digest }) });
  }

  #refuseRollback(refusal: Refusal, snapshot: StateFields, request: RollbackRequest): SvidgateError {
    const { gate, message, problems } = refusal;
    const { digest } = snapshot;
    tellRefusal(refusal, { digest, isReload: this.active !== undefined }, this.#context());
    void this.#record.note(this.#event('refused', snapshot, { by: request.by, gate, reason: message }));
    const named = problems.slice(0, NAMED_PROBLEMS).map((problem) => `; ${formatProblem(problem)}`);
    const what = `policy ${this.#source.name} is not rolled back to ${digest.slice(0, 12)}`;
    return new SvidgateError('policy_invalid', `${what} (${gate}): ${message}${named.join('')}`);
  }

  /** What failed may pass by itself. A source says by itself when to look again. */
  #retryLater(): void {
    const timer = new AbortController();
    this.#retry = timer;
    this.#options.clock.sleep(this.#backoff.next(), this.#untilClosed(timer.signal)).then(
      () => this.reload(this.#closing.signal),
      () => undefined,
    );
  }

  #event(
    kind: PolicyEvent['kind'],
    state: StateFields | PolicyHold | undefined,
    more: Partial<PolicyEvent> & Pick<PolicyEvent, 'by'>,
  ): PolicyEvent {
    return {
      policy: this.#source.name,
      kind,
      at: this.#options.clock.now(),
      source: this.#origin.description,
      entrypoint: this.#source.entrypoint,
      ...(state === undefined ? {} : { digest: state.digest, ...bundleFields(state) }),
      ...more,
    };
  }

  #passOptions(signal: AbortSignal): PassOptions {
    const announce = (candidate: PolicySnapshot | undefined): void => this.#slot.announce(candidate);
    return { source: this.#source, signal, inForce: this.active, announce };
  }

  #context(): RefusalContext {
    const { logger, metrics } = this.#options;
    return { policy: this.#source.name, description: this.#origin.description, logger, metrics };
  }

  /** The source offers what a rollback brought back. */
  #endHold(snapshot: PolicySnapshot): void {
    if (this.#hold === undefined) return;
    this.#setHold(undefined);
    void this.#record.note(this.#event('released', snapshot, { by: 'source', reason: 'the source offers it' }));
  }

  #setHold(hold: PolicyHold | undefined): void {
    this.#hold = hold;
    this.#options.metrics.gauge('svidgate_policy_held', { policy: this.#source.name }, hold === undefined ? 0 : 1);
  }

  #setError(error: PolicyLoadError | undefined): void {
    this.#lastError = error;
    if (error === undefined) this.#backoff.reset();
    this.#options.onChange();
  }

  #untilClosed(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }
}

function bundleFields(state: Partial<StateFields>): Partial<Pick<StateFields, 'revision' | 'signedBy'>> {
  const { revision, signedBy } = state;
  return { ...(revision === undefined ? {} : { revision }), ...(signedBy === undefined ? {} : { signedBy }) };
}

function aboutRequest({ by, reason }: OperatorRequest): Pick<PolicyEvent, 'by' | 'reason'> {
  return { by, ...(reason === undefined ? {} : { reason }) };
}
