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

/** The document as JSON text in UTF-8. A lone surrogate becomes U+FFFD. */
export function encodeInput(document: InputValue): Uint8Array {
  return Buffer.from(JSON.stringify(document), 'utf8');
}
