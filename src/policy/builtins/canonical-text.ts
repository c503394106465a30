/**
 * The text of a value as opa_value_dump writes it, with the members of objects and sets in the order of their texts and one
 * space after commas and colons: equal for equal values, in whatever order they were made. Rego writes it likewise.
 */
export function canonicalText(text: string): string {
  return new Reader(text).value();
}

const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
/** Numbers, words, `set()`. */
const ATOM = /[^\s,:{}[\]"]+/y;
const SPACE = /\s*/y;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): string {
    const first = this.#text[this.#at];
    if (first === '[') return `[${this.#members(']').join(', ')}]`;
    if (first === '{') return `{${this.#members('}').toSorted(byText).join(', ')}}`;
    return this.#take(first === '"' ? STRING : ATOM);
  }

  /** What stands between the brackets: values, or pairs of them. */
  #members(end: string): readonly string[] {
    const members: string[] = [];
    this.#skip(1);
    while (this.#text[this.#at] !== end) {
      let member = this.value();
      this.#skip(0);
      if (this.#text[this.#at] === ':') {
        this.#skip(1);
        member += `: ${this.value()}`;
        this.#skip(0);
      }
      members.push(member);
      if (this.#text[this.#at] === ',') this.#skip(1);
      else if (this.#text[this.#at] !== end) throw new Error('the text of a value ends early');
    }
    this.#at += 1;
    return members;
  }

  #skip(count: number): void {
    this.#at += count;
    this.#take(SPACE);
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw new Error('the text of a value is not well-formed');
    this.#at += found.length;
    return found;
  }
}

/** Not by locale. */
function byText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
