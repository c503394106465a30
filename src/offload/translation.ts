import { createBackoff, describeError, SvidgateError, type Clock, type Logger, type Metrics } from '../core/index.ts';
import type { LiveSnapshots, PolicySnapshot } from '../policy/index.ts';
import type { TranslatedPolicy } from './translated-policy.ts';

/** Translates one policy; rejects where it cannot. */
export type Translate = (snapshot: PolicySnapshot, signal: AbortSignal) => Promise<TranslatedPolicy>;

export interface TranslationOptions {
  readonly policy: string;
  readonly translate: Translate;
  /** Only one policy at a time is translated: it takes a processor and some hundred MB. */
  readonly turns: { take<T>(work: () => Promise<T>): Promise<T> };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** `current` or `state` changed. */
  readonly onChange: () => void;
}

export type TranslationState =
  | { readonly kind: 'no_policy' }
  | { readonly kind: 'translating'; readonly digest: string }
  | { readonly kind: 'translated'; readonly digest: string; readonly tookMs: number }
  | { readonly kind: 'failed'; readonly digest: string; readonly reason: string };

interface Job {
  readonly digest: string;
  readonly abort: AbortController;
  result?: TranslatedPolicy;
  /** Whether the log has what became of it: a candidate may be refused yet. */
  isTold: boolean;
  tookMs: number;
  failure?: string;
}

/** What failed for another reason than the policy itself may pass. */
const RETRY = { baseMs: 5000, maxMs: 300_000 };

/** Of one policy: what was made of the files that are in force, and of no others. */
export class Translation {
  readonly #options: TranslationOptions;
  /** Of what is in force, and of a candidate. */
  #jobs: readonly Job[] = [];
  #inForce: string | undefined;

  constructor(options: TranslationOptions) {
    this.#options = options;
  }

  /** Undefined from the moment on at which something else is in force than it was made of. */
  get current(): TranslatedPolicy | undefined {
    return this.#job?.result;
  }

  get state(): TranslationState {
    if (this.#inForce === undefined) return { kind: 'no_policy' };
    const { result, failure, tookMs = 0 } = this.#job ?? {};
    const digest = this.#inForce;
    if (result !== undefined) return { kind: 'translated', digest, tookMs };
    return failure === undefined ? { kind: 'translating', digest } : { kind: 'failed', digest, reason: failure };
  }

  /** To be called at each change of the snapshots, before it returns to the event loop. */
  follow({ inForce, candidate }: LiveSnapshots): void {
    const wanted = [inForce, candidate].filter((snapshot) => snapshot !== undefined);
    const kept = this.#jobs.filter(({ digest }) => wanted.some((snapshot) => snapshot.digest === digest));
    for (const job of this.#jobs) if (!kept.includes(job)) job.abort.abort();
    this.#jobs = kept;
    this.#inForce = inForce?.digest;
    for (const snapshot of wanted) {
      if (!this.#jobs.some(({ digest }) => digest === snapshot.digest)) this.#begin(snapshot);
    }
    this.#tell();
    this.#options.onChange();
  }

  close(): void {
    for (const { abort } of this.#jobs) abort.abort();
    this.#jobs = [];
    this.#inForce = undefined;
  }

  get #job(): Job | undefined {
    return this.#jobs.find(({ digest }) => digest === this.#inForce);
  }

  #begin(snapshot: PolicySnapshot): void {
    const job: Job = { digest: snapshot.digest, abort: new AbortController(), isTold: false, tookMs: 0 };
    this.#jobs = [...this.#jobs, job];
    void this.#run(job, snapshot);
  }

  /** Never rejects. */
  async #run(job: Job, snapshot: PolicySnapshot): Promise<void> {
    const { clock } = this.#options;
    const { signal } = job.abort;
    const backoff = createBackoff(RETRY);
    let isFinal = false;
    while (!isFinal && !signal.aborted) {
      try {
        await this.#translate(job, snapshot);
        isFinal = true;
      } catch (error) {
        isFinal = SvidgateError.from(error).code === 'policy_invalid';
        if (!signal.aborted) this.#fail(job, error);
        if (!isFinal) await clock.sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  async #translate(job: Job, snapshot: PolicySnapshot): Promise<void> {
    const { clock, metrics, policy, translate, turns } = this.#options;
    const { signal } = job.abort;
    let startedAt = clock.now();
    const result = await turns.take(async () => {
      signal.throwIfAborted();
      startedAt = clock.now();
      return await translate(snapshot, signal);
    });
    if (signal.aborted) return;
    job.tookMs = clock.now() - startedAt;
    job.result = result;
    job.isTold = false;
    metrics.observe('svidgate_offload_translation_seconds', { policy }, job.tookMs / 1000);
    this.#tell();
    if (job === this.#job) this.#options.onChange();
  }

  #tell(): void {
    const job = this.#job;
    if (job === undefined || job.isTold) return;
    const { logger, policy } = this.#options;
    const { digest, tookMs: duration_ms, result, failure } = job;
    if (result !== undefined) {
      const { ways, rules } = result;
      const reason = `${ways.offloaded} of ${ways.all} ways to allow, in ${rules.length} rules`;
      logger.info({ policy, digest, duration_ms, reason }, 'policy translated for envoy');
    } else if (failure !== undefined) {
      logger.warn({ policy, digest, reason: failure }, 'policy not translated for envoy: each request is a call');
    }
    job.isTold = result !== undefined || failure !== undefined;
  }

  #fail(job: Job, error: unknown): void {
    const { metrics, policy, onChange } = this.#options;
    const reason = describeError(error);
    metrics.count('svidgate_offload_translation_failures_total', { policy });
    if (reason === job.failure) return;
    job.failure = reason;
    job.isTold = false;
    this.#tell();
    if (job === this.#job) onChange();
  }
}
