/** Where tokens are in a request. */
export interface TokenPlace {
  /** In lower case. */
  readonly header: string;
  /** What stands before the token, in any case, such as `Bearer `. May be empty. */
  readonly prefix: string;
}

export interface FoundToken extends TokenPlace {
  /** Whatever is there: perhaps no token at all. */
  readonly token: string;
}

/** Reads a header by its name in lower case; values of one that is there several times are joined by commas. */
export type HeaderReader = (name: string) => string | undefined;

/** The tokens at these places, at most one for each header: a longer prefix goes before a shorter one. */
export function createTokenFinder(places: readonly TokenPlace[]): (header: HeaderReader) => readonly FoundToken[] {
  const headers = new Map<string, Set<string>>();
  for (const { header, prefix } of places) headers.set(header, (headers.get(header) ?? new Set()).add(prefix));
  const sorted = [...headers].map(([header, prefixes]) => ({
    header,
    prefixes: [...prefixes].sort((one, other) => other.length - one.length),
  }));
  return (read) =>
    sorted.flatMap(({ header, prefixes }) => {
      const value = read(header);
      if (value === undefined || value === '') return [];
      const prefix = prefixes.find((text) => value.slice(0, text.length).toLowerCase() === text.toLowerCase());
      return prefix === undefined ? [] : [{ header, prefix, token: value.slice(prefix.length).trim() }];
    });
}
