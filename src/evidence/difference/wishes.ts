import type { Condition, Residual, SupportRule, Term } from '../../policy/index.ts';
import { askedByCall } from './asked-by-call.ts';
import { askedByCondition, askedByEquality, opposite, type Asked } from './asked-by-condition.ts';
import { ABSENT, separatorOf, splitKey, type Path } from './input-path.ts';
import type { Samples } from './samples.ts';
import { Scope } from './scope.ts';
import { constantOf } from './terms.ts';

/** Values of one place in the input, with which a condition holds and with which it does not, as far as one can guess. */
export interface Wish extends Samples {
  readonly path: Path;
}

/** How deep variables, calls and supporting rules are followed. */
const MAX_DEPTH = 8;

/** What the conditions of one conjunction ask for. The rules of the residual stand beside it. */
export function wishesOf(conditions: readonly Condition[], residual: Residual): readonly Wish[] {
  return new WishReader(residual).conjunction(conditions, 0);
}

class WishReader {
  readonly #support = new Map<string, SupportRule[]>();

  constructor({ support }: Residual) {
    for (const rule of support) {
      const key = keyOf(rule.path);
      this.#support.set(key, [...(this.#support.get(key) ?? []), rule]);
    }
  }

  conjunction(conditions: readonly Condition[], depth: number): readonly Wish[] {
    if (depth > MAX_DEPTH) return [];
    const scope = new Scope(conditions);
    return conditions.flatMap((condition) => {
      const wishes = this.#condition(condition, scope, depth);
      return condition.negated === true ? wishes.map(inverse) : wishes.map(orAbsent);
    });
  }

  #condition({ operator, args = [], output }: Condition, scope: Scope, depth: number): readonly Wish[] {
    const referred = args.flatMap((term) => this.#supportIn(term, depth));
    if (operator === undefined) {
      const [term] = args;
      return term === undefined ? referred : [...referred, ...wanted({ term, samples: TRUTHY }, scope)];
    }
    const asked = output === true ? askedByResult(operator, args) : askedByCondition(operator, args);
    return [...referred, ...asked.flatMap((each) => wanted(each, scope))];
  }

  /** What the supporting rules ask for that a term refers to. */
  #supportIn(term: Term, depth: number): readonly Wish[] {
    if (depth > MAX_DEPTH) return [];
    const inside = [...(term.ref ?? []), ...(term.array ?? []), ...(term.call?.args ?? [])];
    const parts = inside.flatMap((each) => this.#supportIn(each, depth + 1));
    const [head, ...keys] = term.ref ?? [];
    if (head?.var !== 'data') return parts;
    for (let length = keys.length; length > 0; length -= 1) {
      const rules = this.#support.get(keyOf(keys.slice(0, length)));
      if (rules !== undefined) {
        return [...parts, ...rules.flatMap((rule) => this.conjunction(rule.conditions, depth + 1))];
      }
    }
    return parts;
  }
}

/** `f(x, y)` with the result in the last place. */
function askedByResult(operator: string, args: readonly Term[]): readonly Asked[] {
  const [values, result] = [args.slice(0, -1), args.at(-1)];
  // The variable tells what is asked for, where it is used.
  if (result === undefined || result.var !== undefined) return [];
  if (result.value === true) return askedByCondition(operator, values);
  if (result.value === false) return askedByCondition(operator, values).map(opposite);
  return askedByEquality({ call: { operator, args: values } }, result);
}

const TRUTHY: Samples = { holds: [true, 'x', 1], fails: [false, ABSENT] };

function keyOf(path: readonly Term[]): string {
  return JSON.stringify(path.map(({ value, var: name }) => value ?? name));
}

function inverse({ path, holds, fails }: Wish): Wish {
  return { path, holds: fails, fails: holds.filter((value) => value !== ABSENT) };
}

function orAbsent(wish: Wish): Wish {
  return wish.fails.includes(ABSENT) ? wish : { ...wish, fails: [...wish.fails, ABSENT] };
}

/** Where in the input something has to be what, so that the term has one of these values. */
function wanted({ term, samples }: Asked, scope: Scope, depth = 0): readonly Wish[] {
  if (depth > MAX_DEPTH || (samples.holds.length === 0 && samples.fails.length === 0)) return [];
  if (term.var !== undefined) {
    const meaning = scope.meaningOf(term.var);
    return meaning === undefined ? [] : wanted({ term: meaning, samples }, scope, depth + 1);
  }
  if (term.call !== undefined) {
    return askedByCall(term.call, samples).flatMap((asked) => wanted(asked, scope, depth + 1));
  }
  const [head, ...keys] = term.ref ?? [];
  if (head === undefined || head.var === 'data') return [];
  if (head.var === 'input') return [{ path: keys.map((key, index) => keyIn(keys, key, index)), ...samples }];
  const whole = head.var === undefined ? head : scope.meaningOf(head.var);
  if (whole === undefined) return [];
  const parts = whole.ref ?? piecesOf(whole);
  const asked =
    parts === undefined
      ? { term: whole, samples: samplesOfWhole(keys, samples) }
      : { term: { ref: [...parts, ...keys] }, samples };
  return wanted(asked, scope, depth + 1);
}

/** Of `split(x, "/")`: x, and the key of its pieces. */
function piecesOf({ call }: Term): readonly Term[] | undefined {
  const [text, separator] = call?.operator === 'split' ? call.args : [];
  const value = separator === undefined ? undefined : constantOf(separator);
  return text === undefined || typeof value !== 'string' ? undefined : [text, { value: splitKey(value) }];
}

/** A key that is not known: another name in what holds names, the first element elsewhere. */
function keyIn(keys: readonly Term[], key: Term, index: number): string | number {
  if (typeof key.value === 'string' || typeof key.value === 'number') return key.value;
  const parent = keys[index - 1]?.value;
  return typeof parent === 'string' && NAMED.has(parent) ? 'x-any' : 0;
}

const NAMED: ReadonlySet<string> = new Set([
  'headers',
  'parsed_query',
  'contextExtensions',
  'filterMetadata',
  'labels',
  'claims',
]);

/** `x[2] == "a"` asks for an array with it in the third place. */
function samplesOfWhole(keys: readonly Term[], { holds, fails }: Samples): Samples {
  const around = (value: unknown): unknown =>
    value === ABSENT ? ABSENT : keys.reduceRight<unknown>((below, key) => placed(key.value, below), value);
  return { holds: holds.map(around), fails: fails.map(around) };
}

function placed(key: unknown, value: unknown): unknown {
  const separator = typeof key === 'string' ? separatorOf(key) : undefined;
  if (separator !== undefined) return Array.isArray(value) ? value.map(String).join(separator) : value;
  if (typeof key === 'string') return { [key]: value };
  const index = typeof key === 'number' ? key : 0;
  return [...Array.from({ length: index }, () => 'a'), value];
}
