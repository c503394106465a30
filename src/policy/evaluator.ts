import { createBackoff, describeError, type Clock, type Logger } from '../core/index.ts';
import { createBuiltinsProgram, type BuiltinsProgram } from './builtins/builtins-program.ts';
import type { NdAnswers } from './builtins/nd-book.ts';
import type { Evaluation, EvaluationOptions, NdBuiltinCache } from './evaluation.ts';
import { startEvaluationThread, type EvaluationReply, type EvaluationThread } from './evaluation-thread.ts';
import type { LogRules } from './log-rules.ts';
import type { LoadedModule, MemoryLimits, Resumption } from './evaluator-protocol.ts';
import { exactBuffer } from './policy-instance.ts';
import { SuspendedCalls, type PolicyNetwork } from './suspended-calls.ts';

export interface EvaluatorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** How many calls may wait or run; the next ones are `overloaded`. */
  readonly queueLimit: number;
  /** How long loading the policy into a thread may take. Default 10000. */
  readonly startLimitMs?: number;
  /** Default: replaced 64 MiB above its data, at most 1 GiB. */
  readonly limits?: MemoryLimits;
  /** Shared by those that need it. Default: one of its own. */
  readonly program?: BuiltinsProgram;
  /** Whom the policy may ask; default: nobody. It is not closed with the evaluator. */
  readonly network?: PolicyNetwork;
  /** For tests that inject faults. */
  readonly startThread?: typeof startEvaluationThread;
}

const DEFAULT_START_LIMIT_MS = 10_000;
const DEFAULT_LIMITS: MemoryLimits = { recycleBytes: 64 * 2 ** 20, maxBytes: 2 ** 30 };
/** How many calls the thread is given ahead, so that it does not wait for this thread between two. */
const IN_FLIGHT = 16;
/**
 * An evaluation past its deadline is ended only when it itself ran this long: one that spent its time in the queue says
 * nothing about the policy, and a new thread for each would make an overload worse.
 */
const STUCK_AFTER_MS = 20;
const RECORDED_AFTER_MS = 2000;

interface Call {
  readonly id: number;
  readonly input: ArrayBuffer;
  readonly nd?: NdBuiltinCache;
  /** By the time that never goes back. */
  readonly deadline: number;
  readonly finish: (evaluation: Evaluation) => void;
  /** After an exchange with the network. */
  resumption?: Resumption;
  /** Whether the thread has it. */
  sent: boolean;
  /** Whether its caller has the answer; the thread may still be at it. */
  settled: boolean;
}

/**
 * Evaluates one compiled policy in a thread, with a second thread kept warm. Calls run in order. The one that runs when
 * its deadline passes costs the thread: its caller gets `timeout`, the calls behind it go on in the other thread. A
 * thread that dies costs the call that ran an `error`. A call that needs an answer from the network first waits for it
 * aside, and is then evaluated from the start. Every call settles by its deadline.
 */
export class Evaluator {
  /** What its policy says about the log of its decisions; closed with it. */
  logRules: LogRules | undefined;
  readonly #loaded: LoadedModule;
  readonly #options: EvaluatorOptions;
  readonly #closing = new AbortController();
  /** In order of arrival; those sent come first. */
  readonly #calls = new Map<number, Call>();
  readonly #suspended: SuspendedCalls<Call>;
  readonly #program: BuiltinsProgram;
  #nextId = 0;
  #sent = 0;
  #headSince = 0;
  #thread: EvaluationThread | undefined;
  #standby: EvaluationThread | undefined;
  #refilling: Promise<void> | undefined;
  #timer: { readonly at: number; readonly controller: AbortController } | undefined;
  #whenEmpty: (() => void) | undefined;
  /** The clock when it was last looked at, and how far it was set back since the start, in all. */
  #lastSeen = -Infinity;
  #setBackMs = 0;

  private constructor(loaded: LoadedModule, options: EvaluatorOptions) {
    this.#loaded = loaded;
    this.#options = options;
    this.#program = options.program ?? createBuiltinsProgram();
    this.#suspended = new SuspendedCalls<Call>({
      network: options.network,
      resume: (call) => {
        this.#calls.set(call.id, call);
        this.#pump();
      },
      fail: (call, evaluation) => this.#settle(call, evaluation),
    });
  }

  /** Resolves when the policy is loaded and warm; throws as startEvaluationThread does. */
  static async start(loaded: LoadedModule, options: EvaluatorOptions, signal: AbortSignal): Promise<Evaluator> {
    const evaluator = new Evaluator(loaded, options);
    evaluator.#thread = await evaluator.#startThread(signal);
    evaluator.#refill();
    return evaluator;
  }

  evaluate(input: Uint8Array, options: EvaluationOptions): Promise<Evaluation> {
    const { deadline, signal, nd } = options;
    if (this.#closing.signal.aborted) return Promise.resolve({ kind: 'error', message: 'the evaluator is closed' });
    if (signal?.aborted === true) return Promise.resolve({ kind: 'canceled' });
    const leftMs = deadline - this.#options.clock.now();
    if (leftMs <= 0) return Promise.resolve({ kind: 'timeout' });
    if (this.#calls.size + this.#suspended.size >= this.#options.queueLimit)
      return Promise.resolve({ kind: 'overloaded' });
    return new Promise((resolve) => {
      const id = this.#nextId++;
      const cancel = (): void => this.#settle(call, { kind: 'canceled' });
      const finish = (evaluation: Evaluation): void => {
        signal?.removeEventListener('abort', cancel);
        resolve(evaluation);
      };
      const until = this.#now() + leftMs;
      const again = nd === undefined ? {} : { nd };
      const call: Call = {
        id,
        input: exactBuffer(input),
        ...again,
        deadline: until,
        finish,
        sent: false,
        settled: false,
      };
      signal?.addEventListener('abort', cancel);
      this.#calls.set(id, call);
      this.#pump();
      this.#wakeAt(until);
    });
  }

  /** Waits for the open calls, then closes. New calls are still taken: the caller sends none. */
  async drain(): Promise<void> {
    if (this.#calls.size + this.#suspended.size > 0) await new Promise<void>((resolve) => (this.#whenEmpty = resolve));
    // The last decisions are still to be recorded.
    if (this.logRules !== undefined) {
      await this.#options.clock.sleep(RECORDED_AFTER_MS, this.#closing.signal).catch(() => undefined);
    }
    await this.close();
  }

  /** Ends the threads at once; open calls get an error. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#timer?.controller.abort();
    for (const call of this.#openCalls()) this.#settle(call, { kind: 'error', message: 'the evaluator was closed' });
    this.#calls.clear();
    this.#whenEmpty?.();
    await this.#refilling;
    await Promise.all([this.#thread?.end(), this.#standby?.end(), this.logRules?.close()]);
  }

  /** Gives the thread what it may have. */
  #pump(): void {
    const thread = this.#thread;
    if (thread === undefined || this.#sent >= IN_FLIGHT) return;
    for (const call of this.#calls.values()) {
      if (call.sent) continue;
      if (this.#sent === 0) this.#headSince = this.#now();
      call.sent = true;
      this.#sent += 1;
      const { id, input, nd, resumption } = call;
      const more = { ...(nd === undefined ? {} : { nd }), ...(resumption === undefined ? {} : { resumption }) };
      thread.post({ id, input, ...more });
      if (this.#sent >= IN_FLIGHT) return;
    }
  }

  #onReply(reply: EvaluationReply): void {
    const call = this.#calls.get(reply.id);
    if (call === undefined) return;
    if (reply.kind !== 'suspended') this.#settle(call, toEvaluation(reply));
    else if (!call.settled) this.#suspended.add(call, reply.suspension);
    this.#remove(call);
    this.#headSince = this.#now();
    this.#pump();
    const head = this.#head();
    // No deadline wakes us any more for one whose caller has its answer, and it may be the stuck one.
    if (head?.settled === true) this.#wakeAt(this.#stuckAt(head));
  }

  #onDeath(message: string): void {
    const head = this.#head();
    if (head?.sent === true) {
      this.#settle(head, { kind: 'error', message });
      this.#remove(head);
    }
    this.#options.logger.warn({ reason: message }, 'evaluation thread replaced');
    this.#replaceThread();
  }

  #onTimer(): void {
    this.#timer = undefined;
    // A busy event loop runs timers before it reads replies: those that came in time still count.
    this.#thread?.deliverPending();
    const now = this.#now();
    for (const call of this.#openCalls()) {
      if (!call.settled && call.deadline <= now) this.#settle(call, { kind: 'timeout' });
    }
    const head = this.#head();
    if (head?.sent === true && this.#stuckAt(head) <= now) {
      this.#options.logger.warn({ reason: 'an evaluation passed its deadline' }, 'evaluation thread replaced');
      if (!head.settled) this.#settle(head, { kind: 'timeout' });
      this.#remove(head);
      this.#replaceThread();
    }
    this.#wakeAt(this.#nextWake());
  }

  /** Takes the warm thread, when there is one, and gives it what the old one had not finished. */
  #replaceThread(): void {
    void this.#thread?.end();
    this.#thread = this.#standby;
    this.#standby = undefined;
    this.#sent = 0;
    for (const call of this.#calls.values()) {
      if (!call.sent) break;
      call.sent = false;
      if (call.settled) this.#remove(call);
    }
    this.#pump();
    this.#refill();
  }

  /** Starts threads until one works and one stands by; one attempt at a time, slower after failures. */
  #refill(): void {
    this.#refilling ??= this.#startMissingThreads().finally(() => (this.#refilling = undefined));
  }

  async #startMissingThreads(): Promise<void> {
    const { clock, logger } = this.#options;
    const { signal } = this.#closing;
    const backoff = createBackoff({ baseMs: 100, maxMs: 5000 });
    while (!signal.aborted && (this.#thread === undefined || this.#standby === undefined)) {
      try {
        const thread = await this.#startThread(signal);
        if (this.#thread === undefined) this.#thread = thread;
        else this.#standby = thread;
        this.#pump();
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ reason: describeError(error) }, 'evaluation thread did not start');
        await clock.sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  async #startThread(signal: AbortSignal): Promise<EvaluationThread> {
    const { clock, startLimitMs = DEFAULT_START_LIMIT_MS, limits = DEFAULT_LIMITS } = this.#options;
    const { startThread = startEvaluationThread, network } = this.#options;
    const thread: EvaluationThread = await startThread(this.#loaded, {
      clock,
      signal: AbortSignal.any([signal, this.#closing.signal]),
      startLimitMs,
      limits,
      program: this.#program,
      ...(network === undefined ? {} : { network }),
      onReply: (reply) => this.#onReply(reply),
      onDeath: (message) => {
        if (thread === this.#thread) this.#onDeath(message);
        else if (thread === this.#standby) {
          this.#standby = undefined;
          this.#refill();
        }
      },
    });
    return thread;
  }

  #head(): Call | undefined {
    return this.#calls.values().next().value;
  }

  #stuckAt(head: Call): number {
    return Math.max(head.deadline, this.#headSince + STUCK_AFTER_MS);
  }

  #settle(call: Call, evaluation: Evaluation): void {
    if (call.settled) return;
    call.settled = true;
    call.finish(evaluation);
    this.#suspended.forget(call);
    if (!call.sent) this.#remove(call);
    this.#tellWhenEmpty();
  }

  #remove(call: Call): void {
    if (!this.#calls.delete(call.id)) return;
    if (call.sent) this.#sent -= 1;
    call.sent = false;
    this.#tellWhenEmpty();
  }

  #tellWhenEmpty(): void {
    if (this.#calls.size + this.#suspended.size === 0) this.#whenEmpty?.();
  }

  /** As they are now: settling one changes them. */
  #openCalls(): readonly Call[] {
    return [...this.#calls.values(), ...this.#suspended];
  }

  #nextWake(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const call of this.#openCalls()) if (!call.settled) next = Math.min(next, call.deadline);
    const head = this.#head();
    return head?.settled === true ? Math.min(next, this.#stuckAt(head)) : next;
  }

  /** The time, which never goes back: with a clock that is set back an evaluation would be stuck for as much longer. */
  #now(): number {
    const seen = this.#options.clock.now();
    this.#setBackMs += Math.max(0, this.#lastSeen - seen);
    this.#lastSeen = seen;
    return seen + this.#setBackMs;
  }

  /** One timer for all calls: it is moved only to an earlier time, and looks at every call when it fires. */
  #wakeAt(at: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.#timer !== undefined && this.#timer.at <= at)) return;
    this.#timer?.controller.abort();
    const controller = new AbortController();
    this.#timer = { at, controller };
    this.#options.clock.sleep(at - this.#now(), controller.signal).then(
      () => this.#onTimer(),
      () => undefined,
    );
  }
}

function toEvaluation(reply: Exclude<EvaluationReply, { kind: 'suspended' }>): Evaluation {
  switch (reply.kind) {
    case 'value':
      return { kind: 'value', value: reply.value, ...ndOf(reply.answers) };
    case 'undefined':
      return { kind: 'undefined', ...ndOf(reply.answers) };
    case 'error':
      return { kind: 'error', message: reply.message, ...ndOf(reply.answers) };
  }
}

function ndOf(answers: NdAnswers | undefined): { readonly nd?: NdBuiltinCache; readonly ndLost?: readonly string[] } {
  if (answers === undefined) return {};
  return { nd: answers.nd, ...(answers.lost.length === 0 ? {} : { ndLost: answers.lost }) };
}
