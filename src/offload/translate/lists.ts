import { ALWAYS, any, exact, FALSE, NEVER, request, UNKNOWN, type Bounds, type Formula } from './formula.ts';
import { noMatcher, NOTHING, type Comparison, type ListSymbol, type NumberSymbol, type TextSymbol } from './meaning.ts';
import { segmentIs, SEGMENT_CHARACTER, type PathShape, type SegmentMatch } from './path-shape.ts';
import { callerText, pathText } from './text-sources.ts';
import { ANY_TEXT, isPrintable, likeRegex, quoteRegex, regexOf } from './text-match.ts';
import type { TextMatch } from '../offload-rules.ts';

const shape = (found: PathShape): Bounds => exact({ kind: 'path', shape: found });

/** `input.parsed_path`. */
export function segmentList(): ListSymbol {
  return {
    kind: 'list',
    defined: ALWAYS,
    count: segmentCount('segments'),
    at: (index) => (index < 0 ? NOTHING : segmentText(index)),
    each: anySegment,
    includes: (text) => anySegment(undefined).test({ kind: 'exact', text }),
  };
}

function segmentText(index: number): TextSymbol {
  const there = shape({ segments: {}, atLeast: index + 1 });
  return {
    kind: 'text',
    defined: there,
    notEmpty: shape(segmentIs(index, { kind: 'filled' })),
    test: (match) => {
      const found = segmentMatch(match);
      if (found === 'any') return there;
      if (found === 'none') return NEVER;
      return found === undefined ? { under: FALSE, over: there.over } : shape(segmentIs(index, found));
    },
  };
}

/** Segments of plain paths have no slash, `?`, `#` or `%`. */
const NEVER_IN_SEGMENT = /[^!-~]|[/?#%]/;

function segmentMatch(match: TextMatch): SegmentMatch | 'any' | 'none' | undefined {
  if (match.kind === 'regex') return undefined;
  const { kind, text } = match;
  if (NEVER_IN_SEGMENT.test(text)) return 'none';
  if (kind === 'exact') return { kind, text };
  if (text === '') return 'any';
  const quoted = quoteRegex(text);
  const rest = `${SEGMENT_CHARACTER}*`;
  const regexes = { prefix: quoted + rest, suffix: rest + quoted, contains: rest + quoted + rest };
  return { kind: 'regex', regex: regexes[kind] };
}

function anySegment(variable: string | undefined): TextSymbol {
  return {
    kind: 'text',
    ...(variable === undefined ? {} : { variable }),
    defined: ALWAYS,
    test: (match) => {
      const found = segmentMatch(match);
      if (found === 'any') return ALWAYS;
      if (found === 'none') return NEVER;
      if (found === undefined || found.kind === 'filled') return UNKNOWN;
      const regex = found.kind === 'exact' ? quoteRegex(found.text) : `(?:${found.regex})`;
      return pathText().test(likeRegex(`(?:/${SEGMENT_CHARACTER}*)*/${regex}(?:/[!-~]*)?`));
    },
  };
}

/** That a segment which is not the last is empty. */
export const HAS_EMPTY_SEGMENT: Bounds = pathText().test({ kind: 'contains', text: '//' });

export function segmentCount(role: 'segments' | 'last_segment'): NumberSymbol {
  const offset = role === 'segments' ? 0 : 1;
  return {
    kind: 'number',
    role,
    defined: ALWAYS,
    compare: (comparison, wanted) => countIs(comparison, wanted + offset),
  };
}

function countIs(comparison: Comparison, wanted: number): Bounds {
  switch (comparison) {
    case 'eq':
      return wanted < 1 ? NEVER : shape({ segments: {}, atLeast: wanted, atMost: wanted });
    case 'neq': {
      const { under, over } = countIs('eq', wanted);
      return {
        under: any([atMost(wanted - 1).under, atLeast(wanted + 1).under]),
        over: under === over ? ALWAYS.over : over,
      };
    }
    case 'lt':
      return atMost(wanted - 1);
    case 'lte':
      return atMost(wanted);
    case 'gt':
      return atLeast(wanted + 1);
    case 'gte':
      return atLeast(wanted);
  }
}

function atMost(count: number): Bounds {
  return count < 1 ? NEVER : shape({ segments: {}, atLeast: 1, atMost: count });
}

function atLeast(count: number): Bounds {
  return count <= 1 ? ALWAYS : shape({ segments: {}, atLeast: count });
}

/** `input.svidgate.caller.spiffe_ids`: their order is not told. */
export function callerIdList(): ListSymbol {
  return {
    kind: 'list',
    defined: ALWAYS,
    at: () => noMatcher('a place in the list of SPIFFE IDs of the caller', 'ask whether the list has an ID: `ID in …`'),
    each: callerText,
    includes: (text) => callerText(undefined).test({ kind: 'exact', text }),
  };
}

/** `split(text, delimiter)`, for a delimiter of one character. */
export function splitList(text: TextSymbol, delimiter: string): ListSymbol {
  const others = otherThan(delimiter);
  const mark = quoteRegex(delimiter);
  const within = (match: TextMatch): string | undefined => {
    if (match.kind === 'regex' || !isPrintable(match.text) || match.text.includes(delimiter)) return undefined;
    return regexOf(match).replaceAll(ANY_TEXT, `${others}*`);
  };
  const test = (match: TextMatch, before: string): Bounds => {
    const regex = within(match);
    if (regex === undefined) return { under: FALSE, over: text.defined.over };
    return text.test(likeRegex(`${before}${regex}(?:${mark}${ANY_TEXT})?`));
  };
  return {
    kind: 'list',
    defined: text.defined,
    at: (index) => {
      if (index < 0) return NOTHING;
      const before = `${others}*${mark}`.repeat(index);
      const defined = index === 0 ? text.defined : text.test(likeRegex(`${before}${ANY_TEXT}`));
      return { kind: 'text', defined, test: (match) => test(match, before) };
    },
    each: (variable) => ({
      kind: 'text',
      variable,
      defined: text.defined,
      test: (match) => test(match, `(?:${ANY_TEXT}${mark})?`),
    }),
    includes: (wanted) => test({ kind: 'exact', text: wanted }, `(?:${ANY_TEXT}${mark})?`),
  };
}

function otherThan(delimiter: string): string {
  const code = delimiter.charCodeAt(0);
  const range = (from: number, to: number): string => {
    if (from > to) return '';
    const [first, last] = [from, to].map((each) => inClass(String.fromCharCode(each)));
    return from === to ? (first ?? '') : `${first}-${last}`;
  };
  return `[${range(0x20, code - 1)}${range(code + 1, 0x7e)}]`;
}

function inClass(character: string): string {
  return /[\\\]^[-]/.test(character) ? `\\${character}` : character;
}

/** `input.parsed_query.NAME`: what is escaped in the query may be any name and value. */
export function parameterList(name: string): ListSymbol {
  const target = (regex: string): Formula => request({ kind: 'header', name: ':path', match: likeRegex(regex) });
  const hasEscapes = any([
    request({ kind: 'header', name: ':path', match: { kind: 'contains', text: '%' } }),
    request({ kind: 'header', name: ':path', match: { kind: 'contains', text: '+' } }),
  ]);
  const before = String.raw`[!->@-~]*\?(?:[!-%'-~]*&)*`;
  const isPlainText = (text: string): boolean => /^[!-~]*$/.test(text) && !/[%+&;#=]/.test(text);
  const has = (value: string): Bounds => {
    if (!isPlainText(name) || name === '' || !isPlainText(value)) return { under: FALSE, over: ALWAYS.over };
    const forms = value === '' ? `${quoteRegex(name)}=?` : `${quoteRegex(name)}=${quoteRegex(value)}`;
    const found = target(`${before}${forms}(?:&[!-~]*)?`);
    return { under: found, over: any([found, hasEscapes]) };
  };
  const test = (match: TextMatch): Bounds => (match.kind === 'exact' ? has(match.text) : UNKNOWN);
  const there = isPlainText(name) && name !== '' ? target(`${before}${quoteRegex(name)}(?:[=&][!-~]*)?`) : FALSE;
  const defined: Bounds = { under: there, over: ALWAYS.over };
  return {
    kind: 'list',
    defined,
    at: (index) => {
      if (index !== 0) return noMatcher('another place than the first in a query parameter');
      return { kind: 'text', defined, test: (match) => onlyOne(test(match), { target, before, name }) };
    },
    each: (variable) => ({ kind: 'text', variable, defined, test }),
    includes: has,
  };
}

/** What is said of a parameter, where it is there once. */
function onlyOne(
  found: Bounds,
  {
    target,
    before,
    name,
  }: { readonly target: (regex: string) => Formula; readonly before: string; readonly name: string },
): Bounds {
  if (found.under.kind === 'false') return found;
  const again = `${quoteRegex(name)}(?:=[!-%'-~]*)?&`;
  const twice = target(`${before}${again}(?:[!-%'-~]*&)*${quoteRegex(name)}(?:[=&][!-~]*)?`);
  const escaped = [
    request({ kind: 'header', name: ':path', match: { kind: 'contains', text: '%' } }),
    request({ kind: 'header', name: ':path', match: { kind: 'contains', text: '+' } }),
  ];
  const none = [twice, ...escaped].map((each): Formula => ({ kind: 'not', of: each }));
  return { under: { kind: 'all', of: [found.under, ...none] }, over: found.over };
}
