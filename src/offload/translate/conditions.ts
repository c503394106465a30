import type { Condition, SupportRule, Term } from '../../policy/index.ts';
import { ALWAYS, all, allOf, anyOf, FALSE, negate, NEVER, UNKNOWN, type Bounds } from './formula.ts';
import { HAS_EMPTY_SEGMENT } from './lists.ts';
import { truth, unknown, type Cause, type Meaning } from './meaning.ts';
import { definedOf } from './operators.ts';
import { callMeaning, meaningOf, type TermContext, type Translators } from './terms.ts';

/** What could not be said, and the condition that it stands in. */
export interface Finding {
  readonly condition: Condition;
  readonly cause: Cause;
}

export interface Translated {
  readonly bounds: Bounds;
  /** Where it is true or false; absent: where it holds. */
  readonly defined?: Bounds;
  readonly findings: readonly Finding[];
}

export interface BodyTranslator {
  /** Of conditions that all have to hold. */
  translate(conditions: readonly Condition[]): Translated;
}

/** For the conjunctions of one residual. */
export function createBodyTranslator(options: {
  readonly translators: Translators;
  readonly policy: string;
  readonly support: readonly SupportRule[];
}): BodyTranslator {
  const { translators, policy } = options;
  const rules = new Map<string, SupportRule[]>();
  for (const rule of options.support) {
    const path = rule.path.map(({ value }) => String(value)).join('/');
    rules.set(path, [...(rules.get(path) ?? []), rule]);
  }
  const known = new Map<string, Translated | 'busy' | undefined>();
  const supportRule = (path: string): Translated | undefined => {
    const found = rules.get(path);
    if (found === undefined) return undefined;
    const before = known.get(path);
    // A rule that depends on itself.
    if (before === 'busy') return undefined;
    if (known.has(path)) return before;
    known.set(path, 'busy');
    const translated = translateRules(found, translate);
    known.set(path, translated);
    return translated;
  };
  const translate = (conditions: readonly Condition[]): Translated => {
    const findings: Finding[] = [];
    const context: TermContext = {
      translators,
      policy,
      variables: variablesOf(conditions),
      support: (path) => {
        const found = supportRule(path);
        findings.push(...(found?.findings ?? []));
        return found === undefined ? undefined : truth(found.bounds, found.defined ?? found.bounds);
      },
    };
    return { bounds: translateBody(conditions, context, findings), findings };
  };
  const same = new Map<string, Translated>();
  return {
    translate(conditions) {
      // The rows of a table have most of their conditions in common.
      const [shared, own] = split(conditions, isAlone);
      const parts = shared.map((condition) => {
        const found = same.get(condition.text) ?? translate([condition]);
        same.set(condition.text, found);
        // The same elsewhere is a finding there.
        return { ...found, findings: found.findings.map((each) => ({ ...each, condition })) };
      });
      const each = [...parts, translate(own)];
      return { bounds: allOf(each.map(({ bounds }) => bounds)), findings: each.flatMap(({ findings }) => findings) };
    },
  };
}

function split<T>(
  all: readonly T[],
  isFirst: (each: T) => boolean,
): readonly [first: readonly T[], rest: readonly T[]] {
  return [all.filter(isFirst), all.filter((each) => !isFirst(each))];
}

/** Whether a condition has no variable in common with others. */
function isAlone({ args = [], opaque }: Condition): boolean {
  return opaque !== true && args.every(isClosed);
}

function isClosed(term: Term): boolean {
  if (term.var !== undefined) return term.var === 'input' || term.var === 'data';
  if (term.kind === 'other') return false;
  const members = term.ref ?? term.array ?? term.set ?? term.call?.args ?? [];
  return members.every(isClosed) && (term.object ?? []).every(([key, value]) => isClosed(key) && isClosed(value));
}

/** Where one of the rules of a name is true; undefined for rules with other values, or that are more than a name. */
function translateRules(rules: readonly SupportRule[], translate: BodyTranslator['translate']): Translated | undefined {
  const hasDefault = rules.some((rule) => rule.default);
  const isPlain = rules.every(({ args = [], key, value, ...rule }) => {
    const isBoolean = value?.value === true || (value?.value === false && hasDefault);
    return isBoolean && rule.else !== true && key === undefined && args.length === 0;
  });
  if (!isPlain) return undefined;
  const findings: Finding[] = [];
  const bounds = rules.map((rule): Bounds => {
    if (rule.value?.value === false) return NEVER;
    if (rule.default) return UNKNOWN;
    const translated = translate(rule.conditions);
    findings.push(...translated.findings);
    return translated.bounds;
  });
  const found = anyOf(bounds);
  return { bounds: found, defined: hasDefault ? ALWAYS : found, findings };
}

/** What a variable stands for: the first condition that gives it something. */
function variablesOf(conditions: readonly Condition[]): ReadonlyMap<string, Term> {
  const variables = new Map<string, Term>();
  const give = (name: string, term: Term): void => {
    if (!variables.has(name)) variables.set(name, term);
  };
  for (const { operator, args = [], negated, opaque, output } of conditions) {
    if (operator === undefined || negated === true || opaque === true) continue;
    const [left, right] = args;
    if (output === true) {
      const last = args.at(-1);
      if (last?.var !== undefined) give(last.var, { call: { operator, args: args.slice(0, -1) } });
    } else if ((operator === 'eq' || operator === 'assign') && left !== undefined && right !== undefined) {
      if (left.var !== undefined && !isSame(left, right)) give(left.var, right);
      else if (right.var !== undefined) give(right.var, left);
      else givePattern(left, right, give);
    }
  }
  return variables;
}

/** `["users", id] = input.parsed_path` */
function givePattern(left: Term, right: Term, give: (name: string, term: Term) => void): void {
  const [pattern, of] = left.array === undefined ? [right, left] : [left, right];
  if (of.ref === undefined || pattern.array === undefined) return;
  for (const [index, each] of pattern.array.entries()) {
    if (each.var !== undefined) give(each.var, { ref: [...of.ref, { value: index }] });
  }
}

function isSame(left: Term, right: Term): boolean {
  return left.var !== undefined && left.var === right.var;
}

function translateBody(conditions: readonly Condition[], context: TermContext, findings: Finding[]): Bounds {
  const uses = new Map<string, Bounds[]>();
  const whole: Bounds[] = [];
  const positions = positionUses(conditions, context);
  const isKnownPair = new Set<string>();
  for (const [variable, members] of conditionsBy(positions)) {
    if (isEmptyBeforeLast(members, context)) isKnownPair.add(variable);
  }
  for (const condition of conditions) {
    const { variables, isPositive } = positions.get(condition) ?? NO_POSITIONS;
    const [only] = variables;
    if (only !== undefined && isKnownPair.has(only)) continue;
    const { bounds, cause } =
      only === undefined || isPositive ? translateCondition(condition, context) : lost(OF_MEMBERS);
    if (cause !== undefined) findings.push({ condition, cause });
    if (only === undefined) whole.push(bounds);
    else if (variables.length > 1) whole.push({ under: FALSE, over: bounds.over });
    else uses.set(only, [...(uses.get(only) ?? []), bounds]);
  }
  whole.push(...[...uses.values()].map(together), ...[...isKnownPair].map(() => HAS_EMPTY_SEGMENT));
  return allOf(whole);
}

/** Several conditions of one member of a list. Each alone says less than all together. */
function together(given: readonly Bounds[]): Bounds {
  const bounds = given.filter(({ under, over }) => under.kind !== 'true' || over.kind !== 'true');
  const [only = ALWAYS] = bounds;
  if (bounds.length < 2) return only;
  const over = all(bounds.map((each) => each.over));
  const tests = bounds.map(({ under }) => (under.kind === 'caller' ? under.test : undefined));
  const known = tests.filter((test) => test !== undefined);
  const isCaller = known.length === bounds.length;
  return { under: isCaller ? { kind: 'caller', test: { kind: 'all', of: known } } : FALSE, over };
}

/** `input.parsed_path[i] == ""`, `i < count(input.parsed_path) - 1`. */
function isEmptyBeforeLast(conditions: readonly Condition[], context: TermContext): boolean {
  if (conditions.length !== 2) return false;
  const isOrder = (condition: Condition): boolean => {
    const [left, right] = condition.args ?? [];
    if (condition.operator !== 'lt' || condition.negated === true || left?.var === undefined || right === undefined)
      return false;
    const limit = meaningOf(right, context);
    return limit.kind === 'number' && limit.role === 'last_segment' && !context.variables.has(left.var);
  };
  const isEmpty = ({ operator, negated, args = [] }: Condition): boolean => {
    if (operator !== 'eq' || negated === true) return false;
    const segment = args.find(
      ({ ref }) => ref?.length === 3 && ref[0]?.var === 'input' && ref[1]?.value === 'parsed_path',
    );
    return segment !== undefined && args.some(({ value }) => value === '');
  };
  return conditions.some(isOrder) && conditions.some(isEmpty);
}

interface PositionUse {
  /** Variables that go through a list, also by way of other variables. */
  readonly variables: readonly string[];
  /** Whether it asks a member for something: "some is not" is another thing than "not some is". */
  readonly isPositive: boolean;
}

const NO_POSITIONS: PositionUse = { variables: [], isPositive: true };
const POSITIVE: ReadonlySet<string | undefined> = new Set([
  undefined,
  'eq',
  'assign',
  'equal',
  'internal.member_2',
  'startswith',
  'endswith',
  'contains',
  'regex.match',
]);
const OF_MEMBERS: Cause = {
  reason: 'no_matcher',
  message: 'a negation or a call over the members of a list has no equal in Envoy',
  hint: 'ask for what one member is, or negate a rule that does',
};

function positionUses(
  conditions: readonly Condition[],
  { variables }: TermContext,
): ReadonlyMap<Condition, PositionUse> {
  const found = new Map<Condition, PositionUse>();
  for (const condition of conditions) {
    const used = new Set<string>();
    const seen = new Set<string>();
    let hasCall = condition.output === true;
    const look = (term: Term): void => {
      if (term.var !== undefined && term.var !== 'input' && term.var !== 'data') {
        if (seen.has(term.var)) return;
        seen.add(term.var);
        const given = variables.get(term.var);
        if (given === undefined) used.add(term.var);
        else look(given);
      }
      hasCall ||= term.call !== undefined;
      for (const each of term.ref ?? term.array ?? term.set ?? term.call?.args ?? []) look(each);
      for (const [key, value] of term.object ?? []) [key, value].forEach(look);
    };
    for (const each of condition.args ?? []) look(each);
    const isPositive = condition.negated !== true && !hasCall && POSITIVE.has(condition.operator);
    found.set(condition, { variables: [...used], isPositive });
  }
  return found;
}

function conditionsBy(positions: ReadonlyMap<Condition, PositionUse>): ReadonlyMap<string, readonly Condition[]> {
  const found = new Map<string, Condition[]>();
  for (const [condition, { variables }] of positions) {
    for (const each of variables) found.set(each, [...(found.get(each) ?? []), condition]);
  }
  return found;
}

interface TranslatedCondition {
  readonly bounds: Bounds;
  readonly cause?: Cause;
}

function translateCondition(condition: Condition, context: TermContext): TranslatedCondition {
  const { opaque, operator, args = [], negated } = condition;
  if (opaque === true) {
    const hint = 'say it with plain conditions, or for a list that is known with `some … in`';
    return lost(
      unknown('no_matcher', '`every` over the request, `with`, or a function that was not resolved', hint).cause,
    );
  }
  const { bounds, defined, cause } =
    operator === undefined ? termCondition(args, context) : callCondition(condition, context);
  if (cause !== undefined) return lost(cause);
  const found = negated === true ? negate(bounds, defined) : bounds;
  return { bounds: found, ...(found.under.kind === 'false' ? limitsOf(args, context) : {}) };
}

function limitsOf(args: readonly Term[], context: TermContext): { readonly cause?: Cause } {
  for (const each of args) {
    const meaning = meaningOf(each, context);
    if (meaning.kind === 'text' && meaning.limits !== undefined) return { cause: meaning.limits };
  }
  return {};
}

function lost(cause: Cause): TranslatedCondition {
  return { bounds: UNKNOWN, cause };
}

interface Held {
  readonly bounds: Bounds;
  /** Where all that it is made of is there. */
  readonly defined: Bounds;
  readonly cause?: Cause;
}

/** A term alone holds where it is there and not false. Nothing is rewritten in its negation. */
function termCondition([term]: readonly Term[], context: TermContext): Held {
  const meaning = term === undefined ? unknown('no_matcher', 'an empty condition') : meaningOf(term, context);
  return { bounds: holds(meaning), defined: ALWAYS, ...causeOf(meaning) };
}

function holds(meaning: Meaning): Bounds {
  if (meaning.kind === 'truth') return meaning.bounds;
  if (meaning.kind === 'constant') return meaning.value === false ? NEVER : ALWAYS;
  return definedOf(meaning);
}

function causeOf(meaning: Meaning): { readonly cause?: Cause } {
  return meaning.kind === 'unknown' ? { cause: meaning.cause } : {};
}

function callCondition({ operator = '', args = [], output }: Condition, context: TermContext): Held {
  const call = { context, depth: 0 };
  const result = args.at(-1);
  if (output === true && result !== undefined) {
    const meaning = callMeaning(operator, args.slice(0, -1), call);
    if (meaning.kind === 'unknown') return { ...held(meaning), ...causeOf(meaning) };
    // A variable takes whatever it is.
    if (result.var !== undefined && isGivenBy(result.var, args, context)) return held(meaning, definedOf(meaning));
    const same = sameAs(meaning, result, context);
    return { ...held(same), ...causeOf(same) };
  }
  const [left, right] = args;
  if ((operator === 'eq' || operator === 'assign') && left !== undefined && right !== undefined) {
    const pattern = patternCondition(left, right, context) ?? patternCondition(right, left, context);
    if (pattern !== undefined) return pattern;
    if (left.var !== undefined && context.variables.get(left.var) === right) return held(meaningOf(right, context));
    if (right.var !== undefined && context.variables.get(right.var) === left) return held(meaningOf(left, context));
  }
  const meaning = callMeaning(operator === 'assign' ? 'eq' : operator, args, call);
  const defined = allOf(args.map((each) => definedOf(meaningOf(each, context))));
  return { bounds: holds(meaning), defined, ...causeOf(meaning) };
}

/** Where a variable is given something, that has to be there. */
function held(meaning: Meaning, bounds: Bounds = definedOf(meaning)): Held {
  return { bounds, defined: definedOf(meaning), ...causeOf(meaning) };
}

function isGivenBy(name: string, args: readonly Term[], { variables }: TermContext): boolean {
  const given = variables.get(name);
  return given?.call?.args.every((each, index) => each === args[index]) === true;
}

function sameAs(meaning: Meaning, wanted: Term, context: TermContext): Meaning {
  const other = meaningOf(wanted, context);
  const translate = context.translators.operators['eq'];
  if (other.kind === 'unknown') return other;
  if (meaning.kind === 'nothing' || other.kind === 'nothing') return { kind: 'nothing' };
  const found = translate?.([meaning, other]);
  if (found === undefined) return unknown('no_matcher', 'this comparison has no equal in Envoy');
  return found.kind === 'truth' ? { kind: 'truth', bounds: found.bounds, defined: found.bounds } : found;
}

/** A list against one with variables: as long, and equal where it has constants. */
function patternCondition(pattern: Term, of: Term, context: TermContext): Held | undefined {
  if (pattern.array === undefined || of.ref === undefined) return undefined;
  const list = meaningOf(of, context);
  if (list.kind !== 'list' || list.count === undefined) return undefined;
  const tests: Bounds[] = [list.count.compare('eq', pattern.array.length)];
  for (const [index, each] of pattern.array.entries()) {
    const given = each.var === undefined ? undefined : context.variables.get(each.var);
    const isGivenHere =
      given?.ref?.length === of.ref.length + 1 && given.ref.at(-1)?.value === index && given.ref[0] === of.ref[0];
    if (isGivenHere) continue;
    if (each.var !== undefined) return undefined;
    const same = sameAs(list.at(index), each, context);
    if (same.kind !== 'truth') return undefined;
    tests.push(same.bounds);
  }
  return { bounds: allOf(tests), defined: list.defined };
}
