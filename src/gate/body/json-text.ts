import { SvidgateError } from '../../core/index.ts';

/** What Go's encoding/json refuses beyond. */
const MAX_DEPTH = 10_000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const WORDS: Readonly<Record<string, string>> = { t: 'true', f: 'false', n: 'null' };
/** In turn: a pair, a surrogate alone, any other escape. */
const ESCAPES = /\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)/g;

/**
 * The text of one JSON document, proven to be one without making its values: a number keeps its digits, and a hostile
 * body costs no memory. As Go reads it, `\ud800` alone is U+FFFD; OPA's module would fail on it. Throws
 * `invalid_request`.
 */
export function checkedJson(text: string): string {
  const scanner = new Scanner(text);
  scanner.scan();
  if (!scanner.sawSurrogate) return text;
  return text.replace(ESCAPES, (escape: string, alone: string | undefined) =>
    alone === undefined ? escape : '\ufffd',
  );
}

class Scanner {
  readonly #text: string;
  #at = 0;
  sawSurrogate = false;

  constructor(text: string) {
    this.#text = text;
  }

  scan(): void {
    /** What closes each object and array that is open. */
    const open: number[] = [];
    do {
      this.#value(open);
      this.#close(open);
    } while (open.length > 0);
    this.#space();
    if (this.#at !== this.#text.length) throw invalid();
  }

  /** A value, or the beginning of one: what is in an object or array comes in turns of their own. */
  #value(open: number[]): void {
    for (;;) {
      this.#space();
      const code = this.#text.charCodeAt(this.#at);
      if (code === OPEN_BRACE) {
        this.#enter(open, CLOSE_BRACE);
        if (this.#take(CLOSE_BRACE)) return this.#leave(open);
        this.#key();
      } else if (code === OPEN_BRACKET) {
        this.#enter(open, CLOSE_BRACKET);
        if (this.#take(CLOSE_BRACKET)) return this.#leave(open);
      } else {
        return this.#scalar(code);
      }
    }
  }

  /** After a value: closes what ends here, up to the next value. */
  #close(open: number[]): void {
    for (let closing = open.at(-1); closing !== undefined; closing = open.at(-1)) {
      if (this.#take(COMMA)) {
        if (closing === CLOSE_BRACE) this.#key();
        return;
      }
      if (!this.#take(closing)) throw invalid();
      this.#leave(open);
    }
  }

  #enter(open: number[], closing: number): void {
    this.#at += 1;
    if (open.push(closing) > MAX_DEPTH) throw new SvidgateError('invalid_request', 'the body is nested too deep');
  }

  #leave(open: number[]): void {
    open.pop();
  }

  #key(): void {
    this.#space();
    if (this.#text.charCodeAt(this.#at) !== QUOTE) throw invalid();
    this.#string();
    if (!this.#take(COLON)) throw invalid();
  }

  #scalar(code: number): void {
    if (code === QUOTE) return this.#string();
    const word = WORDS[this.#text[this.#at] ?? ''];
    if (word !== undefined && this.#text.startsWith(word, this.#at)) {
      this.#at += word.length;
      return;
    }
    NUMBER.lastIndex = this.#at;
    if (!NUMBER.test(this.#text)) throw invalid();
    this.#at = NUMBER.lastIndex;
  }

  #string(): void {
    const text = this.#text;
    for (let at = this.#at + 1; ; at += 1) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) {
        this.#at = at + 1;
        return;
      }
      if (code === BACKSLASH) {
        at = this.#escape(at);
      } else if (!(code >= 0x20)) {
        throw invalid(); // a control character, or the end: NaN
      }
    }
  }

  /** Gives the place of its last character. */
  #escape(at: number): number {
    ESCAPE.lastIndex = at;
    if (!ESCAPE.test(this.#text)) throw invalid();
    if ((this.#text.charCodeAt(at + 2) | 0x20) === 0x64) this.sawSurrogate = true; // \ud…: perhaps
    return ESCAPE.lastIndex - 1;
  }

  #take(code: number): boolean {
    this.#space();
    if (this.#text.charCodeAt(this.#at) !== code) return false;
    this.#at += 1;
    return true;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at += 1;
    }
  }
}

function invalid(): SvidgateError {
  return new SvidgateError('invalid_request', 'the body is not JSON');
}
