declare const rawNumberBrand: unique symbol;

/** A number that keeps its text on the way to the policy: doubles are exact to 2^53 only. */
export interface RawNumber {
  readonly [rawNumberBrand]: true;
}

/** What an input document is made of; a key whose value is undefined is left out. */
export type InputValue =
  | null
  | boolean
  | number
  | string
  | RawNumber
  | readonly InputValue[]
  | { readonly [key: string]: InputValue | undefined };

/** JSON.rawJSON (ECMA-262 proposal "JSON.parse source text access", in V8 since 11.4), not in TypeScript's library yet. */
const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => RawNumber };

/** The decimal digits of an integer as they are. */
export function rawNumber(digits: string): RawNumber {
  if (!/^-?\d+$/.test(digits)) throw new TypeError('not an integer');
  return rawJSON(digits);
}

/** JSON text with its numbers as they are written. Throws a SyntaxError. */
export function exactJson(text: string): InputValue {
  // The third argument is not in TypeScript's library yet, as rawJSON.
  const keepNumber = (_key: string, value: unknown, context?: { readonly source: string }): unknown =>
    typeof value === 'number' && context !== undefined ? rawJSON(context.source) : value;
  return JSON.parse(text, keepNumber) as InputValue;
}

/**
 * The document as JSON text in UTF-8. A lone surrogate becomes U+FFFD.
 * @param spliced members of the document that are JSON text already
 */
export function encodeInput(
  document: { readonly [key: string]: InputValue | undefined },
  spliced: Readonly<Record<string, string>> = {},
): Uint8Array {
  let text = JSON.stringify(document);
  for (const [key, json] of Object.entries(spliced)) {
    text = `${text.slice(0, -1)}${text === '{}' ? '' : ','}${JSON.stringify(key)}:${json}}`;
  }
  return Buffer.from(text, 'utf8');
}
