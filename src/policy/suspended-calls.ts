import type { Evaluation } from './evaluation.ts';
import type { Exchange, ExchangeAnswer, NetworkLimits, Resumption, Suspension } from './evaluator-protocol.ts';

/** What one policy may reach beyond the process. */
export interface PolicyNetwork extends NetworkLimits {
  /**
   * Makes the exchange that a text of the builtins' program asks for. Settles within the limit of the network, and soon
   * after the signal; never rejects. `overloaded`: too many of this policy are under way.
   */
  exchange(wanted: string, signal: AbortSignal): Promise<ExchangeAnswer | 'overloaded'>;
  /** Closes what is kept open between exchanges. */
  close(): void;
}

/** A call of an evaluator, as far as it concerns its waiting. */
export interface SuspendedCall {
  /** What the next attempt goes on with. */
  resumption?: Resumption;
}

/** Each exchange is an evaluation from the start: more of them are a policy that asks without end. */
const MAX_EXCHANGES = 16;
/** Of all answers of one evaluation: each attempt gets them anew. */
const MAX_ANSWERS_BYTES = 8 * 2 ** 20;

export interface SuspendedCallsOptions<C> {
  readonly network: PolicyNetwork | undefined;
  /** The answer is there. */
  readonly resume: (call: C) => void;
  /** It cannot go on. */
  readonly fail: (call: C, evaluation: Evaluation) => void;
}

/** The calls whose evaluation was given up until an exchange with the network has been made. */
export class SuspendedCalls<C extends SuspendedCall> implements Iterable<C> {
  readonly #options: SuspendedCallsOptions<C>;
  readonly #waiting = new Map<C, AbortController>();

  constructor(options: SuspendedCallsOptions<C>) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  [Symbol.iterator](): Iterator<C> {
    return this.#waiting.keys();
  }

  /** Calls back once, resume or fail, unless the call is forgotten first. */
  add(call: C, suspension: Suspension): void {
    const stop = new AbortController();
    this.#waiting.set(call, stop);
    void this.#makeExchange(call, suspension, stop.signal);
  }

  /** Ends the exchange. */
  forget(call: C): void {
    const stop = this.#waiting.get(call);
    this.#waiting.delete(call);
    stop?.abort();
  }

  async #makeExchange(call: C, suspension: Suspension, signal: AbortSignal): Promise<void> {
    const { network, resume, fail } = this.#options;
    const { wanted, nowNs, chance } = suspension;
    const before = call.resumption?.exchanges ?? [];
    const evaluation = checkRound(before);
    if (network === undefined || evaluation !== undefined) {
      this.#waiting.delete(call);
      return fail(call, evaluation ?? { kind: 'error', message: 'the policy may ask nobody' });
    }
    const answer = await network.exchange(wanted, signal);
    if (!this.#waiting.delete(call)) return;
    if (answer === 'overloaded') return fail(call, { kind: 'overloaded' });
    call.resumption = { nowNs, chance, exchanges: [...before, { request: wanted, answer }] };
    resume(call);
  }
}

function checkRound(before: readonly Exchange[]): Evaluation | undefined {
  if (before.length >= MAX_EXCHANGES) {
    return { kind: 'error', message: `one evaluation asks the network more than ${MAX_EXCHANGES} times` };
  }
  const bytes = before.reduce((sum, { answer }) => sum + ('body' in answer ? answer.body.length : 0), 0);
  if (bytes > MAX_ANSWERS_BYTES) {
    return { kind: 'error', message: `one evaluation gets more than ${MAX_ANSWERS_BYTES} bytes from the network` };
  }
  return undefined;
}
