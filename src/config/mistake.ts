/** One thing that is wrong in a file. `message` says what is wrong, `remedy` what would be right. */
export interface Mistake {
  /** The file as it was named to the reader. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;
  /** Without the place, such as "unknown key `trust_domian`". */
  readonly message: string;
  /** Such as "did you mean `trust_domain`?". */
  readonly remedy: string;
}

/** From 1, as editors count. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A way into a document: keys of mappings and indexes of lists. */
export type DocumentPath = readonly PropertyKey[];

/** What was read, or all that is wrong with it; never both. */
export type Parsed<T> =
  | {
      readonly value: T;
      /** Where the value at this path stands; the nearest enclosing place for one that is not in the text. */
      readonly placeOf: (path: DocumentPath) => Place;
      readonly mistakes?: never;
    }
  | { readonly mistakes: readonly [Mistake, ...Mistake[]]; readonly value?: never };

/** `file:line:column: message: remedy`, which editors and CI logs make into a link. */
export function formatMistake(mistake: Mistake): string {
  return `${mistake.file}:${mistake.line}:${mistake.column}: ${mistake.message}: ${mistake.remedy}`;
}

/** In the order of the text; the same place keeps its order. */
export function sortMistakes(mistakes: readonly Mistake[]): Mistake[] {
  return mistakes.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

/** `authz.policies.default`, `entries[2].selectors[0]`. */
export function formatPath(path: DocumentPath): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += `${text === '' ? '' : '.'}${String(step)}`;
  }
  return text;
}
