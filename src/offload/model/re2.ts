import { SvidgateError } from '../../core/index.ts';

/**
 * A regex of RE2 as one of JavaScript that tells the same of a whole text. Of a text that is not UTF-8 each such byte stands as
 * U+DC00 plus itself, which neither `.` nor a negated class takes, as in RE2. Throws `unimplemented` for what the two do not have
 * in common: classes of Unicode, `\C`, flags within, and classes of letters under `(?i)`.
 */
export function wholeTextRegex(pattern: string): RegExp {
  const [, flags = '', body = pattern] = /^\(\?([is]+)\)(.*)$/su.exec(pattern) ?? [];
  const reader: Reader = { text: Array.from(body), at: 0, flags };
  const source = alternatives(reader);
  if (reader.at < reader.text.length) throw unsupported('an unexpected )');
  return new RegExp(`^(?:${source})$`, flags.includes('i') ? 'iu' : 'u');
}

interface Reader {
  readonly text: readonly string[];
  at: number;
  readonly flags: string;
}

/** What no byte of UTF-8 is. */
const NO_TEXT = String.raw`\uDC80-\uDCFF`;

const CLASSES: Readonly<Record<string, string>> = {
  d: '0-9',
  w: '0-9A-Za-z_',
  s: String.raw`\t\n\f\r `,
};

const POSIX: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  digit: '0-9',
  lower: 'a-z',
  upper: 'A-Z',
  space: String.raw`\t\n\v\f\r `,
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};

const CONTROLS: Readonly<Record<string, number>> = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 };

const unsupported = (what: string): SvidgateError =>
  new SvidgateError('unimplemented', `the model of Envoy's matchers does not know ${what} in a regex`);

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
      return reader.flags.includes('s') ? `[^${NO_TEXT}]` : String.raw`[^\n${NO_TEXT}]`;
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
      return literal(character.codePointAt(0) ?? 0);
  }
}

function next(reader: Reader): string {
  const character = reader.text[reader.at];
  if (character === undefined) throw unsupported('its end');
  reader.at += 1;
  return character;
}

function group(reader: Reader): string {
  const [opening = ''] = /^\?(?::|P?<\w+>)/u.exec(reader.text.slice(reader.at, reader.at + 80).join('')) ?? [];
  if (opening === '' && reader.text[reader.at] === '?') throw unsupported('a group with flags');
  reader.at += opening.length;
  const inner = alternatives(reader);
  if (next(reader) !== ')') throw unsupported('an open group');
  return `(?:${inner})`;
}

/** After a backslash, outside of brackets. */
function escape(reader: Reader): string {
  const character = next(reader);
  const kind = CLASSES[character.toLowerCase()];
  if (kind !== undefined) {
    refuseFolding(reader);
    return character === character.toLowerCase() ? `[${kind}]` : `[^${kind}${NO_TEXT}]`;
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
    case 'Q':
      return quoted(reader);
    default:
      return literal(escapedCharacter(reader, character));
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
    source += literal(character.codePointAt(0) ?? 0);
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

function literal(codePoint: number): string {
  return String.raw`\u{${codePoint.toString(16)}}`;
}

function bracket(reader: Reader): string {
  const isNegated = reader.text[reader.at] === '^';
  if (isNegated) reader.at += 1;
  let source = '';
  for (let isFirst = true; isFirst || reader.text[reader.at] !== ']'; isFirst = false) {
    source += bracketItem(reader);
  }
  reader.at += 1;
  return isNegated ? `[^${source}${NO_TEXT}]` : `[${source}]`;
}

function bracketItem(reader: Reader): string {
  const [posix, name = ''] = /^\[:(\w+):\]/u.exec(reader.text.slice(reader.at, reader.at + 12).join('')) ?? [];
  if (posix !== undefined) {
    refuseFolding(reader);
    reader.at += posix.length;
    const kind = POSIX[name];
    if (kind === undefined) throw unsupported(posix);
    return kind;
  }
  const from = bracketCharacter(reader);
  if (typeof from === 'string') return from;
  if (reader.text[reader.at] !== '-' || reader.text[reader.at + 1] === ']') return literal(from);
  reader.at += 1;
  const to = bracketCharacter(reader);
  if (typeof to === 'string') throw unsupported('a range up to a class');
  return `${literal(from)}-${literal(to)}`;
}

/** A character, or the source of a class. */
function bracketCharacter(reader: Reader): number | string {
  const character = next(reader);
  if (character !== '\\') return character.codePointAt(0) ?? 0;
  const escaped = next(reader);
  const kind = CLASSES[escaped];
  if (kind === undefined) return escapedCharacter(reader, escaped);
  refuseFolding(reader);
  return kind;
}
