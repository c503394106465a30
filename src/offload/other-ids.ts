import type { StringMatcherInit } from '../proto/index.ts';
import { ANYTHING, regex } from './encode-text.ts';

/** Envoy refuses a regular expression of more than 100 instructions, unless its runtime says otherwise. */
const MAX_INSTRUCTIONS = 95;
/** Of one position: any character, and all others in two ranges. */
const PER_POSITION = 3;
/** Beside those of its positions. */
const PER_PIECE = 3;
/** Any visible character, and the bytes of all others. */
const STRANGE = { regex: `${ANYTHING}[^!-~]${ANYTHING}`, instructions: 12 };
/** The longest ID of which the expressions stay below that. */
const MAX_LENGTH = 86;

/** Whether `otherIds` takes it: what a SPIFFE ID is made of (SPIFFE-ID §2), and no longer than Envoy's limits let it be. */
export function hasOtherIds(text: string): boolean {
  return text.length <= MAX_LENGTH && /^spiffe:\/\/[A-Za-z0-9/._-]+$/.test(text);
}

/**
 * Matchers of which, with those of `otherBeginnings` where a beginning is given that others have in common with it, at least one
 * takes each text that is not this ID, and none the ID: RE2 has no negative lookahead. They are for texts that are shorter, longer,
 * have a different character in some place, or one that is not visible ASCII. As few as fit, since Envoy asks each of them. One
 * gap: in Envoys whose expressions are of characters (1.36), a byte that is no UTF-8 is not told from the single character in
 * whose place it is.
 */
export function otherIds(id: string, common = ''): readonly StringMatcherInit[] {
  const choices = new Choices();
  if (common === '') choices.add(STRANGE.regex, STRANGE.instructions);
  choices.addPieces({ from: 0, to: id.length }, 2, ({ from, to }) => String.raw`\C{0,${to - from - 1}}`);
  // What is longer is told with the last position.
  choices.addPieces({ from: Math.min(common.length, id.length - 1), to: id.length }, PER_POSITION, ({ from, to }) => {
    return `${differing(id.slice(from, to), to === id.length ? String.raw`\C` : '')}${ANYTHING}`;
  });
  return choices.matchers();
}

/** For texts that have a different character in a place of this beginning, or one that is not visible ASCII. */
export function otherBeginnings(text: string): readonly StringMatcherInit[] {
  const choices = new Choices();
  choices.add(STRANGE.regex, STRANGE.instructions);
  choices.addPieces({ from: 0, to: text.length }, PER_POSITION, ({ from, to }) => {
    return `${differing(text.slice(from, to), '')}${ANYTHING}`;
  });
  return choices.matchers();
}

/** Positions of a text. */
interface Piece {
  readonly from: number;
  readonly to: number;
}

/** Expressions of several choices each, as many as fit. */
class Choices {
  readonly #full: string[] = [];
  #open: string[] = [];
  #room = MAX_INSTRUCTIONS;

  add(regex: string, instructions: number): void {
    this.#open.push(regex);
    this.#room -= instructions;
  }

  /** In stretches of as many positions as fit beside those that are skipped. */
  addPieces({ from: first, to: end }: Piece, each: number, regexOf: (piece: Piece) => string): void {
    for (let from = first; from < end;) {
      const fit = Math.floor((this.#room - from - PER_PIECE) / each);
      if (fit < 1 && this.#open.length > 0) {
        this.#close();
        continue;
      }
      const to = Math.min(end, from + Math.max(1, fit));
      this.add(`${skip(from)}${regexOf({ from, to })}`, from + (to - from) * each + PER_PIECE);
      from = to;
    }
  }

  matchers(): readonly StringMatcherInit[] {
    if (this.#open.length > 0) this.#close();
    return this.#full.map(regex);
  }

  #close(): void {
    this.#full.push(this.#open.join('|'));
    this.#open = [];
    this.#room = MAX_INSTRUCTIONS;
  }
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

function escaped(character: string): string {
  return /[A-Za-z0-9:/_!~;@,]/.test(character) ? character : `\\${character}`;
}
