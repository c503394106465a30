/** JSON.rawJSON (ECMA-262 proposal "JSON.parse source text access"), not in TypeScript's library yet. */
const { rawJSON: rawJson } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

/** After a colon, comma or bracket: a number that a double may not hold, or may not write as it was. */
const INEXACT = /(?:^|[:,[])\s*-?(?:\d{16}|\d+[.eE])/;

/** The value of JSON text, in which numbers that a double would change are raw JSON. Throws a SyntaxError. */
export function exactJson(text: string): unknown {
  if (!INEXACT.test(text)) return JSON.parse(text) as unknown;
  const keepNumber = (_key: string, value: unknown, context?: { readonly source: string }): unknown =>
    typeof value === 'number' && context !== undefined && String(value) !== context.source
      ? rawJson(context.source)
      : value;
  return JSON.parse(text, keepNumber) as unknown;
}
