import { SvidgateError } from '../../core/index.ts';

/** Which characters something takes: those of ASCII, and ranges of others. */
export interface CharacterClass {
  readonly ascii: Set<number>;
  readonly others: (readonly [from: number, to: number])[];
}

/** What a character is to a regex: one of Unicode in UTF-8, or a byte. */
export type Characters = 'utf8' | 'latin1';

const LAST = 0x10ffff;
const LAST_BYTE = 0xff;
/** Ranges beyond ASCII are written out. */
const MAX_RANGE = 512;

/** As RE2 has every character beyond ASCII: overlong forms and surrogates are among them, other bytes are not. */
const BEYOND_ASCII = String.raw`[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}`;

export const ANY_BYTE = String.raw`[\x00-\xff]`;

export function addRange({ ascii, others }: CharacterClass, from: number, to: number): void {
  for (let code = from; code <= Math.min(to, 0x7f); code += 1) ascii.add(code);
  if (to > 0x7f) others.push([Math.max(from, 0x80), to]);
}

/** Letters in both cases, as RE2 folds them: `k` and `s` have a third form each in Unicode. */
export function foldCase(of: CharacterClass, characters: Characters): void {
  if (of.others.length > 0) throw unknownInRegex('letters beyond ASCII under (?i)');
  for (const code of Array.from(of.ascii)) {
    const letter = String.fromCharCode(code);
    for (const other of [letter.toLowerCase(), letter.toUpperCase()]) of.ascii.add(other.charCodeAt(0));
    if (characters === 'latin1') continue;
    if (letter === 'k' || letter === 'K') of.others.push([0x212a, 0x212a]);
    if (letter === 's' || letter === 'S') of.others.push([0x17f, 0x17f]);
  }
}

/** As the source of a regex over bytes. */
export function classSource(of: CharacterClass, isNegated: boolean, characters: Characters): string {
  return characters === 'latin1' ? byteClassSource(of, isNegated) : textClassSource(of, isNegated);
}

function textClassSource({ ascii, others }: CharacterClass, isNegated: boolean): string {
  const taken = Array.from({ length: 0x80 }, (_, code) => code).filter((code) => ascii.has(code) !== isNegated);
  const ofAscii = taken.length === 0 ? [] : [`[${taken.map(byteSource).join('')}]`];
  const beyond = others.map(rangeSource);
  if (!isNegated) return alternatives([...ofAscii, ...beyond]);
  return alternatives([...ofAscii, beyond.length === 0 ? BEYOND_ASCII : `(?!${beyond.join('|')})(?:${BEYOND_ASCII})`]);
}

function byteClassSource({ ascii, others }: CharacterClass, isNegated: boolean): string {
  const has = (byte: number): boolean => ascii.has(byte) || others.some(([from, to]) => from <= byte && byte <= to);
  const taken = Array.from({ length: LAST_BYTE + 1 }, (_, byte) => byte).filter((byte) => has(byte) !== isNegated);
  return alternatives(taken.length === 0 ? [] : [`[${taken.map(byteSource).join('')}]`]);
}

/** No alternative at all matches nothing. */
function alternatives(sources: readonly string[]): string {
  return sources.length === 0 ? '(?!)' : `(?:${sources.join('|')})`;
}

function rangeSource([from, to]: readonly [number, number]): string {
  if (from === 0x80 && to === LAST) return BEYOND_ASCII;
  if (to - from > MAX_RANGE) throw unknownInRegex('such a range of characters beyond ASCII');
  return Array.from({ length: to - from + 1 }, (_, index) => characterSource(from + index)).join('|');
}

/** The bytes of a character. */
export function characterSource(codePoint: number, characters: Characters = 'utf8'): string {
  if (characters === 'latin1') return codePoint > LAST_BYTE ? '(?!)' : byteSource(codePoint);
  return [...Buffer.from(String.fromCodePoint(codePoint), 'utf8')].map(byteSource).join('');
}

function byteSource(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}

export function unknownInRegex(what: string): SvidgateError {
  return new SvidgateError('unimplemented', `the model of Envoy's matchers does not know ${what} in a regex`);
}
