import type { Term } from '../../policy/index.ts';
import { constant, noMatcher, NOTHING, unknown, type Meaning } from './meaning.ts';
import type { OperatorTranslator } from './operators.ts';
import type { ReferenceTranslator } from './references.ts';

/** The translators, as a table: tests put wrong ones in their place. */
export interface Translators {
  readonly references: readonly ReferenceTranslator[];
  readonly operators: Readonly<Record<string, OperatorTranslator>>;
}

/** What the terms of one body mean. */
export interface TermContext {
  readonly translators: Translators;
  readonly policy: string;
  /** What variables were given. */
  readonly variables: ReadonlyMap<string, Term>;
  /** A rule of the residual itself, by its path. */
  readonly support: (path: string) => Meaning | undefined;
}

/** Builtins whose answer is another at each time or place. */
const NOT_CONSTANT =
  /^(?:time\.now_ns|rand\.intn|http\.send|opa\.runtime|uuid\.rfc4122|net\.lookup_ip_addr|io\.jwt\..*)$/;
const MAX_DEPTH = 32;

export function meaningOf(term: Term, context: TermContext, depth = 0): Meaning {
  if (depth > MAX_DEPTH) return unknown('too_large', 'the term is nested too deep');
  if ('value' in term) return constant(term.value);
  if (term.ref !== undefined) return referenceMeaning(term.ref, context, depth);
  if (term.var !== undefined) return variableMeaning(term.var, context, depth);
  if (term.call !== undefined) return callMeaning(term.call.operator, term.call.args, { context, depth });
  if (term.kind === 'array') return constant([]);
  if (term.kind === 'set') return { kind: 'constant', value: [], isSet: true };
  if (term.kind === 'object') return constant({});
  const members = term.array ?? term.set;
  if (members !== undefined) {
    const found = collection(members, context, depth);
    return found.kind === 'constant' && term.set !== undefined ? { ...found, isSet: true } : found;
  }
  if (term.object !== undefined) return objectMeaning(term.object, context, depth);
  return noMatcher('a comprehension', 'say it with `in`, or with a rule of its own');
}

function variableMeaning(name: string, context: TermContext, depth: number): Meaning {
  const given = context.variables.get(name);
  if (given === undefined) return { kind: 'position', variable: name };
  return meaningOf(given, context, depth + 1);
}

/** Calls a builtin: arguments that are never there make its result so. */
export function callMeaning(
  operator: string,
  terms: readonly Term[],
  { context, depth }: { readonly context: TermContext; readonly depth: number },
): Meaning {
  if (NOT_CONSTANT.test(operator)) {
    const hint = 'put what needs it into a rule of its own, so that the other rules are offloaded';
    return unknown('not_constant', `${operator} does not depend on the request alone`, hint);
  }
  if (operator === 'object.get') return objectGet(terms, context, depth);
  const args = terms.map((each) => meaningOf(each, context, depth + 1));
  const lost = args.find(({ kind }) => kind === 'unknown');
  if (lost !== undefined) return lost;
  if (args.some(({ kind }) => kind === 'nothing')) return NOTHING;
  const translate = Object.hasOwn(context.translators.operators, operator)
    ? context.translators.operators[operator]
    : undefined;
  if (translate === undefined) return noMatcher(operator);
  return translate(args) ?? noMatcher(`${operator} of these`);
}

/** Of a header, with a constant key. */
function objectGet([object, key, other]: readonly Term[], context: TermContext, depth: number): Meaning {
  if (object?.ref === undefined || typeof key?.value !== 'string' || other === undefined)
    return noMatcher('object.get of these');
  const text = meaningOf({ ref: [...object.ref, key] }, context, depth + 1);
  if (text.kind === 'unknown') return text;
  const translate = context.translators.operators['object.get'];
  const isHeader = object.ref.at(-1)?.value === 'headers' && object.ref.length === 5;
  const found = isHeader ? translate?.([text, meaningOf(other, context, depth + 1)]) : undefined;
  return found ?? noMatcher('object.get of these');
}

function collection(members: readonly Term[], context: TermContext, depth: number): Meaning {
  const meanings = members.map((each) => meaningOf(each, context, depth + 1));
  const values: unknown[] = [];
  for (const each of meanings) {
    if (each.kind !== 'constant') return each.kind === 'unknown' ? each : noMatcher('a list with parts of the request');
    if (each.isSet === true) return noMatcher('a set in a list');
    values.push(each.value);
  }
  return constant(values);
}

function objectMeaning(members: readonly (readonly [Term, Term])[], context: TermContext, depth: number): Meaning {
  const entries: [string, unknown][] = [];
  for (const [key, value] of members) {
    const meaning = meaningOf(value, context, depth + 1);
    if (meaning.kind === 'unknown') return meaning;
    if (meaning.kind !== 'constant' || typeof key.value !== 'string')
      return noMatcher('an object with parts of the request');
    if (meaning.isSet === true) return noMatcher('a set in an object');
    entries.push([key.value, meaning.value]);
  }
  return constant(Object.fromEntries(entries));
}

function referenceMeaning(ref: readonly Term[], context: TermContext, depth: number): Meaning {
  const [head, ...keys] = ref;
  if (head?.var === 'input') return inputMeaning(keys, context, depth);
  if (head?.var === 'data') return dataMeaning(keys, context);
  const list = head === undefined ? NOTHING : meaningOf(head, context, depth + 1);
  return keys.reduce((found, key) => memberMeaning(found, key, { context, depth }), list);
}

/** A rule of the residual holds where it is true. */
function dataMeaning(keys: readonly Term[], { support }: TermContext): Meaning {
  const isPath = keys.every(({ value }) => typeof value === 'string' && !value.includes('/'));
  const found = isPath ? support(keys.map(({ value }) => String(value)).join('/')) : undefined;
  const hint =
    'rules with a default other than `false`, and sets, are looked at where they are asked: name their conditions instead';
  return found ?? noMatcher('this use of a rule', hint);
}

function inputMeaning(keys: readonly Term[], context: TermContext, depth: number): Meaning {
  for (const { path, meaning } of context.translators.references) {
    const taken = matchPath(path, keys);
    if (taken === undefined) continue;
    const found = meaning(taken, { policy: context.policy });
    return keys.slice(path.length).reduce((each, key) => memberMeaning(each, key, { context, depth }), found);
  }
  return unknown('not_visible', "this part of the input is not seen by Envoy's matchers");
}

/** What stands in place of each `*`; undefined where the path is another. */
function matchPath(path: readonly string[], keys: readonly Term[]): readonly string[] | undefined {
  const taken: string[] = [];
  for (const [index, wanted] of path.entries()) {
    const value = keys[index]?.value;
    if (typeof value !== 'string' || (wanted !== '*' && wanted !== value)) return undefined;
    if (wanted === '*') taken.push(value);
  }
  return taken;
}

function memberMeaning(
  from: Meaning,
  key: Term,
  { context, depth }: { readonly context: TermContext; readonly depth: number },
): Meaning {
  if (from.kind === 'unknown' || from.kind === 'nothing') return from;
  if (from.kind !== 'list')
    return from.kind === 'text' || from.kind === 'truth' ? NOTHING : noMatcher('a member of this');
  const place = meaningOf(key, context, depth + 1);
  if (place.kind === 'position') return from.each(place.variable);
  if (place.kind === 'constant') return Number.isSafeInteger(place.value) ? from.at(place.value as number) : NOTHING;
  return place.kind === 'unknown' ? place : noMatcher('a place that depends on the request');
}
