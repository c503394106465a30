import type { Condition, Term } from '../../policy/index.ts';

/** What the variables of a conjunction stand for. */
export class Scope {
  readonly #meanings = new Map<string, Term>();

  constructor(conditions: readonly Condition[]) {
    for (const { operator, args = [], output, negated } of conditions) {
      if (operator === undefined || negated === true) continue;
      if (output === true) this.#note(args.at(-1), { call: { operator, args: args.slice(0, -1) } });
      else if (operator === 'eq' || operator === 'equal') this.#unify(args[0], args[1]);
    }
  }

  meaningOf(name: string): Term | undefined {
    return this.#meanings.get(name);
  }

  #unify(one: Term | undefined, other: Term | undefined): void {
    if (one === undefined || other === undefined) return;
    this.#note(one, other);
    this.#note(other, one);
    this.#takeApart(one, other);
    this.#takeApart(other, one);
  }

  /** `[a, b] = x` says that a is x[0]. */
  #takeApart({ array }: Term, whole: Term): void {
    array?.forEach((element, index) => this.#note(element, partOf(whole, { value: index })));
  }

  #note(variable: Term | undefined, meaning: Term): void {
    if (variable?.var === undefined || this.#meanings.has(variable.var)) return;
    this.#meanings.set(variable.var, meaning);
  }
}

function partOf(whole: Term, key: Term): Term {
  return { ref: whole.ref === undefined ? [whole, key] : [...whole.ref, key] };
}
