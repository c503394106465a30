import type { RulesAnswer } from './apply-log-rules.ts';

export interface RuleQuestion {
  readonly id: number;
  /** Number of the log rules. */
  readonly rules: number;
  /** The record as JSON text in UTF-8. */
  readonly event: Uint8Array;
}

/** The next ones wait: the queue of a policy has an end. */
const AT_ONCE = 32;

/** Asks the thread that has the policies what log rules say to a record. */
export class LogRuleQuestions {
  readonly #send: (question: RuleQuestion) => void;
  readonly #open = new Map<number, (answer: RulesAnswer) => void>();
  readonly #waiting: (() => void)[] = [];
  #nextId = 0;

  constructor(send: (question: RuleQuestion) => void) {
    this.#send = send;
  }

  async ask(rules: number, event: Uint8Array): Promise<RulesAnswer> {
    if (this.#open.size >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const id = this.#nextId++;
    return await new Promise((resolve) => {
      this.#open.set(id, resolve);
      this.#send({ id, rules, event });
    });
  }

  answer(id: number, answer: RulesAnswer): void {
    const resolve = this.#open.get(id);
    this.#open.delete(id);
    resolve?.(answer);
    this.#waiting.shift()?.();
  }
}
