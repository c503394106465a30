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
/** Of one policy: its rules may be slow, and delay those of no other. */
const AT_ONCE_OF_ONE = 4;
/** Of one policy, a quarter of what the recorder holds of all. */
const MAX_WAITING = 2048;
const MAX_WAITING_BYTES = 16 * 2 ** 20;

interface RuleSet {
  open: number;
  readonly waiting: { readonly bytes: number; readonly start: () => void }[];
  waitingBytes: number;
}

/** Asks the thread that has the policies what log rules say to a record. */
export class LogRuleQuestions {
  readonly #send: (question: RuleQuestion) => void;
  readonly #open = new Map<number, { readonly rules: number; readonly resolve: (answer: RulesAnswer) => void }>();
  /** Those with questions; the one that was served last is the last. */
  readonly #sets = new Map<number, RuleSet>();
  #nextId = 0;

  constructor(send: (question: RuleQuestion) => void) {
    this.#send = send;
  }

  /** An error where too many records wait for the same rules. */
  async ask(rules: number, event: Uint8Array): Promise<RulesAnswer> {
    const set = this.#setOf(rules);
    const bytes = event.byteLength;
    const isFull = set.waiting.length >= MAX_WAITING || set.waitingBytes + bytes > MAX_WAITING_BYTES;
    if (isFull && set.waiting.length > 0) return { kind: 'error' };
    return await new Promise((resolve) => {
      const id = this.#nextId++;
      const start = (): void => {
        this.#open.set(id, { rules, resolve });
        this.#send({ id, rules, event });
      };
      set.waiting.push({ bytes, start });
      set.waitingBytes += bytes;
      this.#startNext();
    });
  }

  answer(id: number, answer: RulesAnswer): void {
    const question = this.#open.get(id);
    if (question === undefined) return;
    this.#open.delete(id);
    const set = this.#setOf(question.rules);
    set.open -= 1;
    if (set.open === 0 && set.waiting.length === 0) this.#sets.delete(question.rules);
    question.resolve(answer);
    this.#startNext();
  }

  #setOf(rules: number): RuleSet {
    let set = this.#sets.get(rules);
    if (set === undefined) this.#sets.set(rules, (set = { open: 0, waiting: [], waitingBytes: 0 }));
    return set;
  }

  #startNext(): void {
    for (const [rules, set] of this.#sets) {
      while (this.#open.size < AT_ONCE && set.open < AT_ONCE_OF_ONE) {
        const next = set.waiting.shift();
        if (next === undefined) break;
        set.waitingBytes -= next.bytes;
        set.open += 1;
        next.start();
        this.#sets.delete(rules);
        this.#sets.set(rules, set);
      }
    }
  }
}
