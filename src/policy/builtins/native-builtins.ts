/**
 * Builtins answered here, at a fraction of the cost of a call to OPA's: those that many policies call at each request.
 * Arguments and answers are the text of values, one character for each byte, so that strings that are not UTF-8 pass.
 */
export interface NativeBuiltin {
  /** Whether it answers all that OPA's does; else some calls go there. */
  readonly isComplete: boolean;
  /** `text` is that of an array of arguments. `ask_opa` where OPA's own has to answer. */
  answer(text: string): NativeAnswer;
}

export type NativeAnswer = { readonly text: string } | 'undefined' | 'ask_opa';

/** Both within 32 bits, so that OPA and JavaScript are exact. */
const SMALL_INTEGERS = /^\[(-?(?:0|[1-9]\d{0,8})),(-?(?:0|[1-9]\d{0,8}))\]$/;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;

function onSmallIntegers(compute: (x: number, y: number) => number | undefined): NativeBuiltin {
  return {
    isComplete: false,
    answer(text) {
      const match = SMALL_INTEGERS.exec(text);
      if (match === null || text.includes('-0')) return 'ask_opa';
      const result = compute(Number(match[1]), Number(match[2]));
      // No minus zero: OPA writes it in some cases.
      return result === undefined || Object.is(result, -0) ? 'ask_opa' : { text: String(result) };
    },
  };
}

export const NATIVE_BUILTINS: ReadonlyMap<string, NativeBuiltin> = new Map([
  ['plus', onSmallIntegers((x, y) => x + y)],
  ['minus', onSmallIntegers((x, y) => x - y)],
  ['mul', onSmallIntegers((x, y) => x * y)],
  ['rem', onSmallIntegers((x, y) => (y === 0 ? undefined : x % y))],
  ['div', onSmallIntegers((x, y) => (y !== 0 && x % y === 0 ? x / y : undefined))],
  ['concat', { isComplete: true, answer: concat }],
]);

/** The texts of strings are joined as they are, escapes included. A set is sorted by the bytes of its strings. */
function concat(text: string): NativeAnswer {
  const delimiter = stringAt(text, 1);
  if (delimiter === undefined) return 'undefined';
  const open = delimiter.end + 1;
  if (text.startsWith('set()', open)) return { text: '""' };
  const isSet = text[open] === '{';
  if (text[open] !== '[' && (!isSet || text.startsWith('{}', open))) return 'undefined';
  const parts = stringsFrom(text, open + 1);
  if (parts === undefined) return 'undefined';
  const contents = isSet
    ? parts
        .map((part) => ({ part, key: unescape(part) }))
        .sort(byKey)
        .map(({ part }) => part)
    : parts;
  return { text: `"${contents.join(delimiter.content)}"` };
}

interface FoundString {
  /** Between its quotes. */
  readonly content: string;
  readonly end: number;
}

function stringAt(text: string, at: number): FoundString | undefined {
  STRING.lastIndex = at;
  const match = STRING.exec(text);
  return match === null ? undefined : { content: match[0].slice(1, -1), end: STRING.lastIndex };
}

/** The contents of the strings up to the closing bracket; undefined where another value stands. */
function stringsFrom(text: string, start: number): readonly string[] | undefined {
  const contents: string[] = [];
  let at = start;
  while (text[at] === '"') {
    const found = stringAt(text, at);
    if (found === undefined) return undefined;
    contents.push(found.content);
    at = text.startsWith(', ', found.end) ? found.end + 2 : found.end;
  }
  return text[at] === ']' || text[at] === '}' ? contents : undefined;
}

const ESCAPE = /\\(?:u([0-9a-f]{4})|(.))/g;
const CONTROL: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

function unescape(content: string): string {
  if (!content.includes('\\')) return content;
  return content.replaceAll(ESCAPE, (_all, code: string | undefined, plain: string | undefined) =>
    code === undefined ? (CONTROL[plain ?? ''] ?? plain ?? '') : String.fromCodePoint(Number.parseInt(code, 16)),
  );
}

/** One character is one byte: the order of OPA's strings. */
function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  if (a.key === b.key) return 0;
  return a.key < b.key ? -1 : 1;
}
