import { ALWAYS, allOf, anyOf, negate, NEVER, not, UNKNOWN, type Bounds } from './formula.ts';
import { splitList } from './lists.ts';
import {
  constant,
  noMatcher,
  truth,
  unknown,
  type Comparison,
  type Meaning,
  type NumberSymbol,
  type TextSymbol,
} from './meaning.ts';
import { orElse, pathText } from './text-sources.ts';
import { ANY_TEXT, exactly, isPrintable, likeRegex, placed, quoteRegex, regexOf, searchRegex } from './text-match.ts';
import { segmentCount } from './lists.ts';
import type { TextMatch } from '../offload-rules.ts';
import { matchesText } from '../translated-policy.ts';

/** What a builtin gives for these arguments, none of which is unknown or `nothing`. Undefined: nothing that Envoy can say. */
export type OperatorTranslator = (args: readonly Meaning[]) => Meaning | undefined;

/** By the builtin's name in OPA. */
export const OPERATORS: Readonly<Record<string, OperatorTranslator>> = {
  eq: ([left, right]) => equals(left, right),
  equal: ([left, right]) => equals(left, right),
  neq: ([left, right]) => differs(left, right),
  lt: (args) => compare('lt', args),
  lte: (args) => compare('lte', args),
  gt: (args) => compare('gt', args),
  gte: (args) => compare('gte', args),
  'internal.member_2': ([needle, list]) => member(needle, list),
  startswith: ([text, part]) => textTest(text, part, 'prefix'),
  endswith: ([text, part]) => textTest(text, part, 'suffix'),
  contains: ([text, part]) => textTest(text, part, 'contains'),
  'regex.match': ([pattern, text]) => regexTest(pattern, text),
  'glob.match': ([pattern, delimiters, text]) => globTest(pattern, delimiters, text),
  lower: ([text]) => changedCase(text, (each) => each.toLowerCase()),
  upper: ([text]) => changedCase(text, (each) => each.toUpperCase()),
  split: ([text, delimiter]) => split(text, delimiter),
  trim_prefix: ([text, prefix]) => withoutPrefix(text, prefix),
  trim_suffix: ([text, suffix]) => withoutSuffix(text, suffix),
  trim_left: ([text, cutset]) => withoutLeft(text, cutset),
  count: ([list]) => (list?.kind === 'list' ? list.count : undefined),
  minus: ([left, right]) => lastSegment(left, right),
  'object.get': ([text, other]) =>
    text !== undefined && other?.kind === 'constant' ? withDefault(text, other.value) : undefined,
};

/** Those that look at a text; how it is undefined is theirs, too. */
function withText(text: Meaning | undefined, test: (text: TextSymbol) => Bounds | undefined): Meaning | undefined {
  if (text?.kind !== 'text') return undefined;
  const bounds = test(text);
  return bounds === undefined ? undefined : truth(bounds, text.defined);
}

function equals(left: Meaning | undefined, right: Meaning | undefined): Meaning | undefined {
  if (left === undefined || right === undefined) return undefined;
  if ([left, right].some((each) => each.kind === 'constant' && each.isSet === true)) return undefined;
  if (left.kind === 'constant' && right.kind === 'constant') {
    return constant(JSON.stringify(left.value) === JSON.stringify(right.value));
  }
  if (left.kind === 'constant') return equals(right, left);
  if (right.kind !== 'constant') return undefined;
  const { value } = right;
  switch (left.kind) {
    case 'text':
      return truth(typeof value === 'string' ? left.test(exactly(value)) : NEVER, left.defined);
    case 'number':
      if (typeof value !== 'number') return truth(NEVER, left.defined);
      return Number.isSafeInteger(value) ? truth(left.compare('eq', value), left.defined) : undefined;
    case 'truth':
      if (value === true) return truth(left.bounds, left.defined);
      return truth(value === false ? negate(left.bounds, left.defined) : NEVER, left.defined);
    case 'list': {
      if (!Array.isArray(value) || left.count === undefined) return undefined;
      const members = value.map((each: unknown, index) => equals(left.at(index), constant(each)));
      const tests = members.map((each) => (each?.kind === 'truth' ? each.bounds : UNKNOWN));
      return truth(allOf([left.count.compare('eq', value.length), ...tests]), left.defined);
    }
    case 'position':
    case 'nothing':
    case 'unknown':
      return undefined;
  }
}

function differs(left: Meaning | undefined, right: Meaning | undefined): Meaning | undefined {
  if (left?.kind === 'text' && left.notEmpty !== undefined && right?.kind === 'constant' && right.value === '') {
    return truth(left.notEmpty, left.defined);
  }
  if (left?.kind === 'constant' && right?.kind === 'text') return differs(right, left);
  const same = equals(left, right);
  if (same?.kind === 'constant') return constant(same.value !== true);
  if (same?.kind !== 'truth') return undefined;
  return truth(
    { under: negate(same.bounds, same.defined).under, over: allOver(same.defined, not(same.bounds.under)) },
    same.defined,
  );
}

function allOver(defined: Bounds, over: Bounds['over']): Bounds['over'] {
  return allOf([defined, { under: over, over }]).over;
}

const MIRRORED: Readonly<Record<Comparison, Comparison>> = {
  eq: 'eq',
  neq: 'neq',
  lt: 'gt',
  lte: 'gte',
  gt: 'lt',
  gte: 'lte',
};

function compare(comparison: Comparison, [left, right]: readonly Meaning[]): Meaning | undefined {
  if (left?.kind === 'constant' && right?.kind === 'number') return compare(MIRRORED[comparison], [right, left]);
  if (left?.kind === 'constant' && right?.kind === 'constant')
    return compareConstants(comparison, left.value, right.value);
  if (left?.kind !== 'number' || right?.kind !== 'constant' || !Number.isSafeInteger(right.value)) return undefined;
  return truth(left.compare(comparison, right.value as number), left.defined);
}

function compareConstants(comparison: Comparison, left: unknown, right: unknown): Meaning | undefined {
  if (!Number.isSafeInteger(left) || !Number.isSafeInteger(right)) return undefined;
  const difference = (left as number) - (right as number);
  const holds = {
    eq: difference === 0,
    neq: difference !== 0,
    lt: difference < 0,
    lte: difference <= 0,
    gt: difference > 0,
    gte: difference >= 0,
  };
  return constant(holds[comparison]);
}

function member(needle: Meaning | undefined, list: Meaning | undefined): Meaning | undefined {
  if (needle === undefined || list === undefined) return undefined;
  if (list.kind === 'list') {
    if (needle.kind !== 'constant' || typeof needle.value !== 'string') return undefined;
    return truth(list.includes(needle.value), list.defined);
  }
  if (list.kind !== 'constant' || typeof list.value !== 'object' || list.value === null) return undefined;
  const members: readonly unknown[] = Object.values(list.value);
  const found = members.map((each) => equals(needle, constant(each)));
  if (found.every((each) => each?.kind === 'constant'))
    return constant(found.some((each) => each?.kind === 'constant' && each.value === true));
  const tests: Bounds[] = [];
  for (const each of found) {
    if (each?.kind !== 'truth') return undefined;
    tests.push(each.bounds);
  }
  return truth(anyOf(tests), definedOf(needle));
}

/** Where a term has a value. */
export function definedOf(meaning: Meaning): Bounds {
  switch (meaning.kind) {
    case 'text':
    case 'list':
    case 'number':
    case 'truth':
      return meaning.defined;
    case 'constant':
    case 'position':
      return ALWAYS;
    case 'nothing':
      return NEVER;
    case 'unknown':
      return UNKNOWN;
  }
}

function textTest(
  text: Meaning | undefined,
  part: Meaning | undefined,
  kind: 'prefix' | 'suffix' | 'contains',
): Meaning | undefined {
  if (part?.kind !== 'constant' || typeof part.value !== 'string') return undefined;
  const wanted = part.value;
  return withText(text, (found) => found.test({ kind, text: wanted }));
}

function regexTest(pattern: Meaning | undefined, text: Meaning | undefined): Meaning | undefined {
  if (pattern?.kind !== 'constant' || typeof pattern.value !== 'string') return undefined;
  const regex = searchRegex(pattern.value);
  if (regex === undefined) {
    return noMatcher(
      'this pattern',
      'use groups, classes, `|`, `*`, `+`, `?`, `^`, `$` and `.`, or startswith and endswith',
    );
  }
  return withText(text, (found) => found.test(likeRegex(regex)));
}

/** With `*` for the rest of a part between `/`: what else a pattern may have is not looked into. */
function globTest(
  pattern: Meaning | undefined,
  delimiters: Meaning | undefined,
  text: Meaning | undefined,
): Meaning | undefined {
  if (pattern?.kind !== 'constant' || typeof pattern.value !== 'string' || delimiters?.kind !== 'constant') {
    return undefined;
  }
  if (JSON.stringify(delimiters.value) !== '["/"]' || !/^(?:[^*?[\]{}\\!,]|\*(?=\/|$))*$/.test(pattern.value)) {
    return noMatcher('this pattern', 'use `*` at the end of parts alone, with `/` as the delimiter, or startswith');
  }
  const regex = searchRegex(`^${pattern.value.split('*').map(quoteRegex).join('[^/]*')}$`);
  if (regex === undefined) return undefined;
  // OPA's globs are known to match more than they should: nothing is said of what does not match.
  return withText(text, (found) => ({ under: found.test(likeRegex(regex)).under, over: found.defined.over }));
}

/** ASCII alone changes there: what is not is not matched. */
function changedCase(text: Meaning | undefined, change: (text: string) => string): Meaning | undefined {
  if (text?.kind === 'constant' && typeof text.value === 'string' && isPrintable(text.value))
    return constant(change(text.value));
  if (text?.kind !== 'text') return undefined;
  const { defined } = text;
  return {
    kind: 'text',
    defined,
    test: (match) => {
      if (match.kind === 'regex') return UNKNOWN;
      if (!isPrintable(match.text)) return { under: { kind: 'false' }, over: defined.over };
      if (match.text !== change(match.text)) return { under: { kind: 'false' }, over: unprintable(text) };
      if (!/[a-z]/i.test(match.text)) return text.test(match);
      return text.test(likeRegex(placed(match.kind, `(?i:${quoteRegex(match.text)})`)));
    },
  };
}

/** Other characters than ASCII may become what an ASCII text cannot. */
function unprintable(text: TextSymbol): Bounds['over'] {
  return allOver(text.defined, not(text.test(likeRegex(ANY_TEXT)).under));
}

function split(text: Meaning | undefined, delimiter: Meaning | undefined): Meaning | undefined {
  if (text?.kind !== 'text' || delimiter?.kind !== 'constant') return undefined;
  const { value } = delimiter;
  if (typeof value !== 'string' || value.length !== 1 || !isPrintable(value)) {
    return noMatcher('a delimiter of other than one character');
  }
  const list = splitList(text, value);
  if (text.isTarget !== true || value !== '?') return list;
  return { ...list, at: (index) => (index === 0 ? pathText() : list.at(index)) };
}

function withoutPrefix(text: Meaning | undefined, prefix: Meaning | undefined): Meaning | undefined {
  if (text?.kind !== 'text' || prefix?.kind !== 'constant' || typeof prefix.value !== 'string') return undefined;
  const cut = prefix.value;
  if (cut === '') return text;
  if (!isPrintable(cut)) return undefined;
  return {
    kind: 'text',
    defined: text.defined,
    test: (match) => {
      const whole = text.test(match);
      const cutOff = text.test(afterPrefix(cut, match));
      const isLonger = text.test({ kind: 'prefix', text: cut });
      const stays = allOf([whole, { under: not(isLonger.over), over: not(isLonger.under) }]);
      return anyOf([cutOff, stays]);
    },
  };
}

function afterPrefix(cut: string, match: TextMatch): TextMatch {
  if (match.kind === 'exact' || match.kind === 'prefix') return { kind: match.kind, text: cut + match.text };
  return likeRegex(`${quoteRegex(cut)}(?:${regexOf(match)})`);
}

function withoutSuffix(text: Meaning | undefined, suffix: Meaning | undefined): Meaning | undefined {
  if (text?.kind !== 'text' || suffix?.kind !== 'constant' || typeof suffix.value !== 'string') return undefined;
  const cut = suffix.value;
  if (cut === '') return text;
  if (!isPrintable(cut)) return undefined;
  return {
    kind: 'text',
    defined: text.defined,
    test: (match) => {
      const isLonger = text.test({ kind: 'suffix', text: cut });
      const stays = allOf([text.test(match), { under: not(isLonger.over), over: not(isLonger.under) }]);
      const before: TextMatch =
        match.kind === 'exact' || match.kind === 'suffix'
          ? { kind: match.kind, text: match.text + cut }
          : likeRegex(`(?:${regexOf(match)})${quoteRegex(cut)}`);
      return anyOf([text.test(before), stays]);
    },
  };
}

/** Of one character that is cut off as often as it is there. */
function withoutLeft(text: Meaning | undefined, cutset: Meaning | undefined): Meaning | undefined {
  if (text?.kind !== 'text' || cutset?.kind !== 'constant' || typeof cutset.value !== 'string') return undefined;
  const cut = cutset.value;
  if (cut.length !== 1 || !isPrintable(cut)) return undefined;
  return {
    kind: 'text',
    defined: text.defined,
    test: (match) => {
      const isPlain = (match.kind === 'exact' || match.kind === 'prefix') && match.text !== '';
      if (!isPlain) return { under: { kind: 'false' }, over: text.defined.over };
      if (match.text.startsWith(cut)) return NEVER;
      if (!isPrintable(match.text)) return { under: { kind: 'false' }, over: text.defined.over };
      return text.test(likeRegex(`${quoteRegex(cut)}*${regexOf(match)}`));
    },
  };
}

function lastSegment(left: Meaning | undefined, right: Meaning | undefined): NumberSymbol | undefined {
  const isLast = left?.kind === 'number' && left.role === 'segments' && right?.kind === 'constant' && right.value === 1;
  return isLast ? segmentCount('last_segment') : undefined;
}

/** `object.get(input.attributes.request.http.headers, name, other)`. */
function withDefault(text: Meaning, other: unknown): Meaning {
  if (typeof other !== 'string' || !isPrintable(other)) return noMatcher('a default that is no plain text');
  if (text.kind === 'nothing') return constant(other);
  if (text.kind !== 'text') return unknown('no_matcher', 'a default of this has no equal in Envoy');
  return orElse(text, (match) => matchesText(match, other));
}
