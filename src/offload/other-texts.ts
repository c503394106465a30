import type { StringMatcherInit } from '../proto/index.ts';
import { ANYTHING, regex } from './encode-text.ts';

/** Envoy refuses a regular expression of more than 100 instructions, unless its runtime says otherwise. */
const MAX_INSTRUCTIONS = 95;
/** Of one position: a choice between the character, and all others in two ranges. */
const PER_POSITION = 5;
/** The longest text of which the expressions stay below that. */
const MAX_LENGTH = 90;

/** Whether `otherTexts` takes it: what a SPIFFE ID is made of (SPIFFE-ID §2), and no longer than Envoy's limits let it be. */
export function hasOtherTexts(text: string): boolean {
  return text.length > 1 && text.length <= MAX_LENGTH && /^[A-Za-z0-9:/._-]+$/.test(text);
}

/**
 * Matchers of which at least one takes each text but this one, and none this one: RE2 has no negative lookahead. They are for
 * texts with another character than visible ASCII; that differ from the first half, or from the second half counted from the
 * end; that end before, or begin after, the half is complete; and that have both halves with something between, or overlapping.
 * One gap: a byte that is no UTF-8, in the place of a single character, is not told from it.
 */
export function otherTexts(text: string): readonly StringMatcherInit[] {
  const half = Math.floor(text.length / 2);
  const start = [...charactersOf(text.slice(0, half))];
  const end = [...charactersOf(text.slice(half))];
  return [
    regex(`${ANYTHING}[^!-~]${ANYTHING}`),
    ...otherStarts(start),
    regex(start.slice(0, -1).reduceRight((rest, each) => `(?:${each.exact}${rest})?`, '')),
    ...otherEnds(end),
    regex(end.slice(1).reduce((rest, each) => `(?:${rest}${each.exact})?`, '')),
    regex(String.raw`${exactly(start)}\C+${exactly(end)}`),
    ...overlapping(text.slice(0, half), text.slice(half)).map((exact) => ({ exact })),
  ];
}

/** As regular expressions: a character, and all others that are visible. */
interface Position {
  readonly exact: string;
  readonly other: string;
}

function* charactersOf(text: string): Generator<Position, void, void> {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    const exact = escaped(text.charAt(index));
    yield { exact, other: `[!-${escaped(String.fromCharCode(code - 1))}${escaped(String.fromCharCode(code + 1))}-~]` };
  }
}

function otherStarts(start: readonly Position[]): readonly StringMatcherInit[] {
  return pieces(start.length).map(({ from, to }) => {
    const differs = start.slice(from, to).reduceRight((rest, { exact, other }) => {
      return rest === '' ? other : `(?:${other}|${exact}${rest})`;
    }, '');
    return regex(`${exactly(start.slice(0, from))}${differs}${ANYTHING}`);
  });
}

function otherEnds(end: readonly Position[]): readonly StringMatcherInit[] {
  return pieces(end.length).map(({ from, to }) => {
    const { length } = end;
    const differs = end.slice(length - to, length - from).reduce((rest, { exact, other }) => {
      return rest === '' ? other : `(?:${other}|${rest}${exact})`;
    }, '');
    return regex(`${ANYTHING}${differs}${exactly(end.slice(length - from))}`);
  });
}

/** Of as many positions as fit beside the characters that come before them. */
function pieces(length: number): readonly { readonly from: number; readonly to: number }[] {
  const all: { readonly from: number; readonly to: number }[] = [];
  for (let from = 0; from < length;) {
    const to = Math.min(length, from + Math.floor((MAX_INSTRUCTIONS - from - 6) / PER_POSITION));
    all.push({ from, to });
    from = to;
  }
  return all;
}

/** Texts that begin with the one and end with the other, and are shorter than both together. */
function overlapping(start: string, end: string): readonly string[] {
  const texts: string[] = [];
  for (let shared = 1; shared <= Math.min(start.length, end.length); shared += 1) {
    if (start.endsWith(end.slice(0, shared))) texts.push(start + end.slice(shared));
  }
  return texts;
}

function exactly(positions: readonly Position[]): string {
  return positions.map(({ exact }) => exact).join('');
}

function escaped(character: string): string {
  return /[A-Za-z0-9:/_!~;@,]/.test(character) ? character : `\\${character}`;
}
