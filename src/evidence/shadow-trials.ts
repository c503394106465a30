import { describeError, type Clock, type Logger, type Metrics } from '../core/index.ts';
import type { Decision, PolicyEngine } from '../policy/index.ts';
import { compareAnswers, type Comparison, type ShadowAnswer } from './shadow-answer.ts';
import type { ShadowSubject } from './shadow-subject.ts';
import type { ShadowTable } from './shadow-table.ts';
import type { UnenforcedPolicies } from './unenforced-policies.ts';

/** A request that was answered. */
export interface AnsweredRequest {
  /** The policy that it asked for. */
  readonly policy: string;
  readonly decisionId: string;
  /** What that policy said, or that nobody asked it: an allow that is `unenforced`. */
  readonly live: ShadowAnswer;
  /** What the policy saw. */
  readonly input: Parameters<PolicyEngine['decide']>[1];
  /** Of the request, in bytes. */
  readonly size: number;
  readonly subject: () => ShadowSubject;
  /** How Envoy would be told of a decision. */
  readonly answerOf: (decision: Decision) => ShadowAnswer;
}

/** What the gate knows of the policies that decide nothing, or nothing yet. */
export interface PolicyTrials {
  /** Whether its requests are let through whatever it says. */
  isUnenforced(policy: string): boolean;
  /** Whether some policy is to see the requests of this one. */
  isWatched(policy: string): boolean;
  /** Shows a request to the candidates, after the event loop has had its turn. Never throws. */
  observe(request: AnsweredRequest): void;
}

export interface ShadowTrialsOptions {
  /** The names of the live policies by the names of their shadows. */
  readonly shadows: ReadonlyMap<string, string>;
  readonly unenforced: UnenforcedPolicies;
  readonly policies: Pick<PolicyEngine, 'decide' | 'status'>;
  readonly table: ShadowTable;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Of one candidate, waiting or being evaluated; the next ones are dropped. */
const MAX_UNDER_WAY = 64;
const MAX_BYTES_UNDER_WAY = 16 * 2 ** 20;
/** Of one turn of the event loop: handing an evaluation to its thread takes some 10 µs of the thread that answers. */
const REQUESTS_PER_TURN = 8;

/** Ends of a decision that say nothing of the policy's text. */
const NOT_COMPARED: ReadonlyMap<string, Comparison> = new Map([
  ['overloaded', 'dropped'],
  ['canceled', 'dropped'],
  ['no_policy', 'not_active'],
  ['not_active', 'not_active'],
]);

/** Evaluates candidates beside the live policies, and counts how they differ. */
export class ShadowTrials implements PolicyTrials {
  readonly #options: ShadowTrialsOptions;
  readonly #shadowsOf: ReadonlyMap<string, readonly string[]>;
  readonly #underWay = new Map<string, { count: number; bytes: number }>();
  #arrived: AnsweredRequest[] = [];
  /** Answered while too many were waiting, by live policy. */
  readonly #missed = new Map<string, number>();
  readonly #told = new Set<string>();
  #isScheduled = false;
  #isClosed = false;

  constructor(options: ShadowTrialsOptions) {
    this.#options = options;
    this.#shadowsOf = Map.groupBy(options.shadows.keys(), (name) => options.shadows.get(name) ?? '');
  }

  isUnenforced(policy: string): boolean {
    return this.#options.unenforced.has(policy);
  }

  isWatched(policy: string): boolean {
    return this.#shadowsOf.has(policy) || this.isUnenforced(policy);
  }

  observe(request: AnsweredRequest): void {
    const { policy } = request;
    if (this.#isClosed) return;
    if (this.#arrived.length < MAX_UNDER_WAY) this.#arrived.push(request);
    else this.#missed.set(policy, (this.#missed.get(policy) ?? 0) + 1);
    this.#schedule();
  }

  /** What is under way counts no more: its end says nothing of the policy. */
  close(): void {
    this.#isClosed = true;
    this.#arrived = [];
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#isClosed) return;
      for (const request of this.#arrived.splice(0, REQUESTS_PER_TURN)) this.#show(request);
      for (const [policy, count] of this.#missed) {
        for (const candidate of this.#candidatesOf(policy)) this.#count(candidate, 'dropped', count);
      }
      this.#missed.clear();
      if (this.#arrived.length > 0) this.#schedule();
    });
  }

  #show(request: AnsweredRequest): void {
    try {
      const subject = request.subject();
      for (const candidate of this.#candidatesOf(request.policy)) {
        this.#try(candidate, request, subject).catch((error: unknown) => this.#fail(candidate, error));
      }
    } catch (error) {
      for (const candidate of this.#candidatesOf(request.policy)) this.#fail(candidate, error);
    }
  }

  #candidatesOf(policy: string): readonly string[] {
    const shadows = this.#shadowsOf.get(policy) ?? [];
    return this.isUnenforced(policy) ? [policy, ...shadows] : shadows;
  }

  async #try(candidate: string, request: AnsweredRequest, subject: ShadowSubject): Promise<void> {
    const { policies, table, clock } = this.#options;
    const { live, input, size, decisionId, answerOf, policy: livePolicy } = request;
    const before = live.kind === 'failure' ? NOT_COMPARED.get(live.reason) : undefined;
    if (before !== undefined) return this.#count(candidate, before);
    const underWay = this.#underWay.get(candidate) ?? { count: 0, bytes: 0 };
    this.#underWay.set(candidate, underWay);
    if (underWay.count >= MAX_UNDER_WAY || underWay.bytes + size > MAX_BYTES_UNDER_WAY) {
      return this.#count(candidate, 'dropped');
    }
    underWay.count += 1;
    underWay.bytes += size;
    let decision: Decision;
    try {
      decision = await policies.decide(candidate, input, { deadline: Number.POSITIVE_INFINITY });
    } finally {
      underWay.count -= 1;
      underWay.bytes -= size;
    }
    if (this.#isClosed) return;
    const answer = answerOf(decision);
    const after = NOT_COMPARED.get(answer.reason);
    if (after !== undefined || decision.digest === undefined) return this.#count(candidate, after ?? 'not_active');
    const comparison = compareAnswers(live, answer);
    this.#options.metrics.count('svidgate_shadow_decisions_total', { policy: candidate, comparison });
    const about = { policy: candidate, digest: decision.digest, livePolicy, subject, at: clock.now() };
    table.record({ ...about, comparison, live, candidate: answer, decisionId });
  }

  /** What was not compared has no subject: to find it out would cost as much as what was saved. */
  #count(candidate: string, comparison: Comparison, by = 1): void {
    const { metrics, table, policies, shadows, clock } = this.#options;
    metrics.count('svidgate_shadow_decisions_total', { policy: candidate, comparison }, by);
    const digest = policies.status.value.get(candidate)?.digest;
    if (comparison !== 'dropped' || digest === undefined) return;
    const livePolicy = shadows.get(candidate) ?? candidate;
    table.recordDropped({ policy: candidate, digest, livePolicy, at: clock.now() }, by);
  }

  /** A defect, told of once for each policy: requests may come in thousands. */
  #fail(policy: string, error: unknown): void {
    this.#options.metrics.count('svidgate_shadow_decisions_total', { policy, comparison: 'dropped' });
    if (this.#told.has(policy)) return;
    this.#told.add(policy);
    this.#options.logger.error({ policy, reason: describeError(error) }, 'a shadow policy could not be asked');
  }
}
