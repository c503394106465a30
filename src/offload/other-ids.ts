import type { StringMatcherInit } from '../proto/index.ts';
import { ANYTHING, regex } from './encode-text.ts';

/** Envoy refuses a regular expression of more than 100 instructions, unless its runtime says otherwise. */
const MAX_INSTRUCTIONS = 94;
/** Of one position: any character, and all others in two ranges. */
const PER_POSITION = 3;
/** The longest ID of which the expressions stay below that. */
const MAX_LENGTH = 86;

const SCHEME = 'spiffe://';

/** Whether `otherIds` takes it: what a SPIFFE ID is made of (SPIFFE-ID §2), and no longer than Envoy's limits let it be. */
export function hasOtherIds(text: string): boolean {
  return text.length <= MAX_LENGTH && /^spiffe:\/\/[A-Za-z0-9/._-]+$/.test(text);
}

/** For every text that does not begin as SPIFFE IDs do, or that has another character than visible ASCII. */
export function noSpiffeIds(): StringMatcherInit {
  const isShort = String.raw`\C{0,${SCHEME.length - 1}}`;
  const differs = `${differing(SCHEME, '')}${ANYTHING}`;
  return regex(`${ANYTHING}[^!-~]${ANYTHING}|${isShort}|${differs}`);
}

/**
 * Matchers of which, with that of `noSpiffeIds`, at least one takes each text that is not this ID, and none the ID: RE2 has no
 * negative lookahead. They are for texts that are shorter, longer, or have a different character in some place; in one of the
 * first `known`, by `otherBeginnings` of these. One gap: in Envoys whose expressions are of characters (1.36), a byte that is no
 * UTF-8 is not told from the single character in whose place it is.
 */
export function otherIds(id: string, known = 0): readonly StringMatcherInit[] {
  const text = id.slice(SCHEME.length);
  const shorter = pieces(0, text.length, 2).map(({ from, to }) => {
    return `${skip(from)}${String.raw`\C{0,${to - from - 1}}`}`;
  });
  // What is longer is told with the last position.
  const first = Math.max(0, Math.min(known, id.length - 1) - SCHEME.length);
  const differs = pieces(first, text.length, PER_POSITION).map(({ from, to }) => {
    return `${skip(from)}${differing(text.slice(from, to), to === text.length ? String.raw`\C` : '')}${ANYTHING}`;
  });
  return [...shorter, ...differs].map((rest) => regex(`${SCHEME}${rest}`));
}

/** For texts that have a different character in a place of this beginning of SPIFFE IDs. */
export function otherBeginnings(beginning: string): readonly StringMatcherInit[] {
  const text = beginning.slice(SCHEME.length);
  return pieces(0, text.length, PER_POSITION).map(({ from, to }) => {
    return regex(`${SCHEME}${skip(from)}${differing(text.slice(from, to), '')}${ANYTHING}`);
  });
}

function skip(count: number): string {
  return count === 0 ? '' : String.raw`\C{${count}}`;
}

/** For what differs from the text in some place; or for anything as long with this behind it. */
function differing(text: string, behind: string): string {
  let regex = behind;
  for (let at = text.length - 1; at >= 0; at -= 1) {
    const other = allBut(text.charCodeAt(at));
    regex = regex === '' ? other : `(?:${other}|${String.raw`\C`}${regex})`;
  }
  return regex;
}

/** All visible characters but one. */
function allBut(code: number): string {
  return `[!-${escaped(String.fromCharCode(code - 1))}${escaped(String.fromCharCode(code + 1))}-~]`;
}

/** Stretches of as many positions as fit beside those that are skipped. */
function pieces(first: number, end: number, each: number): readonly { readonly from: number; readonly to: number }[] {
  const all: { readonly from: number; readonly to: number }[] = [];
  for (let from = first; from < end;) {
    const fit = Math.floor((MAX_INSTRUCTIONS - SCHEME.length - from - 6) / each);
    const to = Math.min(end, from + Math.max(1, fit));
    all.push({ from, to });
    from = to;
  }
  return all;
}

function escaped(character: string): string {
  return /[A-Za-z0-9:/_!~;@,]/.test(character) ? character : `\\${character}`;
}
