import {
  addRange,
  ANY_BYTE,
  characterSource,
  classSource,
  foldCase,
  unknownInRegex as unsupported,
  type CharacterClass,
  type Characters,
} from './character-class.ts';

/**
 * A regex of RE2 as one of JavaScript that tells the same of a whole text, which is given as its bytes, a character each. In UTF-8
 * it takes characters as their bytes, and bytes that are none are taken by `\C` alone; in Latin-1 each byte is a character, also
 * those of the pattern. Throws `unimplemented` for what the two do not have in common: classes of Unicode, other flags than `i`
 * and `s`, and `\w` and its kind under `(?i)`.
 */
export function wholeTextRegex(pattern: string, characters: Characters): RegExp {
  const text = characters === 'utf8' ? pattern : Buffer.from(pattern, 'utf8').toString('latin1');
  const reader: Reader = { text: Array.from(text), at: 0, flags: '', characters };
  const source = alternatives(reader);
  if (reader.at < reader.text.length) throw unsupported('an unexpected )');
  return new RegExp(`^(?:${source})$`);
}

interface Reader {
  readonly text: readonly string[];
  at: number;
  /** Of where it is. */
  flags: string;
  readonly characters: Characters;
}

const DIGITS = ['09'];
const WORDS = ['09', 'AZ', 'az', '__'];
const SPACES = ['\t\n', '\f\r', '  '];

/** Ranges by their first and last characters. */
const CLASSES: Readonly<Record<string, readonly string[]>> = { d: DIGITS, w: WORDS, s: SPACES };

const POSIX: Readonly<Record<string, readonly string[]>> = {
  alnum: ['09', 'AZ', 'az'],
  alpha: ['AZ', 'az'],
  digit: DIGITS,
  lower: ['az'],
  upper: ['AZ'],
  space: ['\t\r', '  '],
  word: WORDS,
  xdigit: ['09', 'AF', 'af'],
};

const CONTROLS: Readonly<Record<string, number>> = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 };

function alternatives(reader: Reader): string {
  let source = '';
  while (reader.at < reader.text.length && reader.text[reader.at] !== ')') {
    if (reader.text[reader.at] === '|') {
      source += '|';
      reader.at += 1;
    } else {
      source += repeated(reader, atom(reader));
    }
  }
  return source;
}

const QUANTIFIER = /^(?:[*+?]|\{\d+(?:,\d*)?\})\??/u;

function repeated(reader: Reader, one: string): string {
  const [quantifier] = QUANTIFIER.exec(reader.text.slice(reader.at, reader.at + 16).join('')) ?? [];
  if (quantifier === undefined) return one;
  reader.at += quantifier.length;
  if (QUANTIFIER.test(reader.text[reader.at] ?? '')) throw unsupported('a repetition of a repetition');
  return `${one}${quantifier}`;
}

function atom(reader: Reader): string {
  const character = next(reader);
  switch (character) {
    case '(':
      return group(reader);
    case '[':
      return bracket(reader);
    case '.':
      return classSource(classOf(reader.flags.includes('s') ? [] : ['\n\n']), true, reader.characters);
    case '^':
    case '$':
      return character;
    case '*':
    case '+':
    case '?':
      throw unsupported('a repetition of nothing');
    case '\\':
      return escape(reader);
    default:
      return literal(reader, character.codePointAt(0) ?? 0);
  }
}

function next(reader: Reader): string {
  const character = reader.text[reader.at];
  if (character === undefined) throw unsupported('its end');
  reader.at += 1;
  return character;
}

function group(reader: Reader): string {
  const rest = reader.text.slice(reader.at, reader.at + 80).join('');
  const [opening = '', flags = '', end = ':'] = /^\?(?:([is]*)([:)])|P?<\w+>)/u.exec(rest) ?? [];
  if (opening === '' && reader.text[reader.at] === '?') throw unsupported('such a group');
  reader.at += opening.length;
  // Until the end of the group that this stands in.
  const before = reader.flags;
  reader.flags += flags;
  if (end === ')') return '';
  const inner = alternatives(reader);
  reader.flags = before;
  if (next(reader) !== ')') throw unsupported('an open group');
  return `(?:${inner})`;
}

/** After a backslash, outside of brackets. */
function escape(reader: Reader): string {
  const character = next(reader);
  const kind = CLASSES[character.toLowerCase()];
  if (kind !== undefined) {
    refuseFolding(reader);
    return classSource(classOf(kind), character !== character.toLowerCase(), reader.characters);
  }
  switch (character) {
    case 'A':
      return '^';
    case 'z':
      return '$';
    case 'b':
    case 'B':
      refuseFolding(reader);
      return `\\${character}`;
    case 'C':
      return ANY_BYTE;
    case 'Q':
      return quoted(reader);
    default:
      return literal(reader, escapedCharacter(reader, character));
  }
}

function refuseFolding({ flags }: Reader): void {
  if (flags.includes('i')) throw unsupported('a class under (?i)');
}

function quoted(reader: Reader): string {
  let source = '';
  while (reader.at < reader.text.length) {
    const character = next(reader);
    if (character === '\\' && reader.text[reader.at] === 'E') {
      reader.at += 1;
      break;
    }
    source += literal(reader, character.codePointAt(0) ?? 0);
  }
  return source;
}

function escapedCharacter(reader: Reader, character: string): number {
  const control = CONTROLS[character];
  if (control !== undefined) return control;
  if (character === 'x') {
    const rest = reader.text.slice(reader.at, reader.at + 12).join('');
    const [all = '', wide, narrow] = /^(?:\{([0-9a-f]{1,6})\}|([0-9a-f]{2}))/iu.exec(rest) ?? [];
    if (all === '') throw unsupported(String.raw`such a \x`);
    reader.at += all.length;
    return Number.parseInt(wide ?? narrow ?? '', 16);
  }
  if (!/[!-/:-@[-`{-~]/u.test(character)) throw unsupported(`\\${character}`);
  return character.codePointAt(0) ?? 0;
}

function literal({ flags, characters }: Reader, codePoint: number): string {
  if (!flags.includes('i')) return `(?:${characterSource(codePoint, characters)})`;
  const one: CharacterClass = { ascii: new Set(), others: [] };
  addRange(one, codePoint, codePoint);
  foldCase(one, characters);
  return classSource(one, false, characters);
}

function classOf(ranges: readonly string[]): CharacterClass {
  const made: CharacterClass = { ascii: new Set(), others: [] };
  for (const [from = '', to = ''] of ranges) addRange(made, from.charCodeAt(0), to.charCodeAt(0));
  return made;
}

function bracket(reader: Reader): string {
  const isNegated = reader.text[reader.at] === '^';
  if (isNegated) reader.at += 1;
  const taken: CharacterClass = { ascii: new Set(), others: [] };
  for (let isFirst = true; isFirst || reader.text[reader.at] !== ']'; isFirst = false) {
    for (const [from, to] of bracketItem(reader)) addRange(taken, from, to);
  }
  reader.at += 1;
  if (reader.flags.includes('i')) foldCase(taken, reader.characters);
  return classSource(taken, isNegated, reader.characters);
}

type Ranges = readonly (readonly [from: number, to: number])[];

function bracketItem(reader: Reader): Ranges {
  const [posix, name = ''] = /^\[:(\w+):\]/u.exec(reader.text.slice(reader.at, reader.at + 12).join('')) ?? [];
  if (posix !== undefined) {
    const kind = POSIX[name];
    if (kind === undefined) throw unsupported(posix);
    reader.at += posix.length;
    return named(reader, kind);
  }
  const from = bracketCharacter(reader);
  if (typeof from !== 'number') return from;
  if (reader.text[reader.at] !== '-' || reader.text[reader.at + 1] === ']') return [[from, from]];
  reader.at += 1;
  const to = bracketCharacter(reader);
  if (typeof to !== 'number' || to < from) throw unsupported('such a range');
  return [[from, to]];
}

function named(reader: Reader, kind: readonly string[]): Ranges {
  refuseFolding(reader);
  return kind.map(([from = '', to = '']) => [from.charCodeAt(0), to.charCodeAt(0)]);
}

/** A character, or a class. */
function bracketCharacter(reader: Reader): number | Ranges {
  const character = next(reader);
  if (character !== '\\') return character.codePointAt(0) ?? 0;
  const escaped = next(reader);
  const kind = CLASSES[escaped];
  return kind === undefined ? escapedCharacter(reader, escaped) : named(reader, kind);
}
