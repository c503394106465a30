import type { StringMatcherInit } from '../proto/index.ts';
import { ANYTHING, regex } from './encode-text.ts';

/** Envoy refuses a regular expression of more than 100 instructions, unless its runtime says otherwise. */
const MAX_INSTRUCTIONS = 94;
/** Of one position: a choice between the character, and all others in two ranges. */
const PER_POSITION = 5;
/** The longest ID of which the expressions stay below that. */
const MAX_LENGTH = 86;

const SCHEME = 'spiffe://';

/** Whether `otherIds` takes it: what a SPIFFE ID is made of (SPIFFE-ID §2), and no longer than Envoy's limits let it be. */
export function hasOtherIds(text: string): boolean {
  return text.length <= MAX_LENGTH && /^spiffe:\/\/[A-Za-z0-9/._-]+$/.test(text);
}

/** For every text that does not begin as SPIFFE IDs do, or that has another character than visible ASCII. */
export function noSpiffeIds(): readonly StringMatcherInit[] {
  const begins = [...charactersOf(SCHEME)].reduceRight((rest, { exact, other }) => {
    return `(?:${other}${ANYTHING}${rest === '' ? '' : `|${exact}${rest}`})?`;
  }, '');
  return [regex(`${ANYTHING}[^!-~]${ANYTHING}`), regex(begins)];
}

/**
 * Matchers of which, with those of `noSpiffeIds`, at least one takes each text that is not this ID, and none the ID: RE2 has no
 * negative lookahead. They are for texts with a different character in some place, that end before, and that go on after. One
 * gap: in Envoys whose expressions are of characters (1.36), a byte that is no UTF-8 is not told from the single character in
 * whose place it is.
 */
export function otherIds(id: string): readonly StringMatcherInit[] {
  const characters = [...charactersOf(id.slice(SCHEME.length))];
  const fits = (from: number, each: number): number => Math.floor((MAX_INSTRUCTIONS - SCHEME.length - from - 6) / each);
  return [
    ...pieces(characters.length, (from) => fits(from, PER_POSITION)).map(({ from, to }) => {
      const differs = characters.slice(from, to).reduceRight((rest, { exact, other }) => {
        return rest === '' ? other : `(?:${other}|${exact}${rest})`;
      }, '');
      return regex(`${SCHEME}${exactly(characters.slice(0, from))}${differs}${ANYTHING}`);
    }),
    ...pieces(characters.length - 1, (from) => fits(from, 2)).map(({ from, to }) => {
      const ends = characters.slice(from, to).reduceRight((rest, { exact }) => `(?:${exact}${rest})?`, '');
      return regex(`${SCHEME}${exactly(characters.slice(0, from))}${ends}`);
    }),
    regex(`${SCHEME}${exactly(characters)}${String.raw`\C+`}`),
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

/** Stretches of as many positions as fit beside the characters that come before them. At least one. */
function pieces(
  length: number,
  fits: (from: number) => number,
): readonly { readonly from: number; readonly to: number }[] {
  const all: { readonly from: number; readonly to: number }[] = [];
  for (let from = 0; from < length || all.length === 0;) {
    const to = Math.min(length, from + Math.max(1, fits(from)));
    all.push({ from, to });
    from = to;
  }
  return all;
}

function exactly(positions: readonly Position[]): string {
  return positions.map(({ exact }) => exact).join('');
}

function escaped(character: string): string {
  return /[A-Za-z0-9:/_!~;@,]/.test(character) ? character : `\\${character}`;
}
