import type { InputNeeds } from '../policy/index.ts';

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
const { rawJSON, isRawJSON } = JSON as unknown as {
  readonly rawJSON: (text: string) => RawNumber;
  readonly isRawJSON: (value: unknown) => value is RawNumber;
};

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

export type InputObject = Readonly<Record<string, InputValue | undefined>>;

/**
 * The document, or what of it is needed, as JSON text in UTF-8. A lone surrogate becomes U+FFFD.
 * @param spliced members of the document that are JSON text already
 */
export function encodeInput(
  document: InputObject,
  spliced: Readonly<Record<string, string>> = {},
  needs: InputNeeds = 'all',
): Uint8Array {
  let text = JSON.stringify(pick(document, needs));
  for (const [key, json] of Object.entries(spliced)) {
    if (needs !== 'all' && !needs.has(key)) continue;
    text = `${text.slice(0, -1)}${text === '{}' ? '' : ','}${JSON.stringify(key)}:${json}}`;
  }
  return Buffer.from(text, 'utf8');
}

/** What is neither an object nor an array is taken whole: nothing can be looked up in it. */
function pick(value: InputValue | undefined, needs: InputNeeds): InputValue | undefined {
  if (needs === 'all') return value;
  if (Array.isArray(value)) return pickElements(value as readonly InputValue[], needs);
  if (!isObject(value)) return value;
  // Without a prototype: a header may be called `__proto__`.
  const picked = Object.create(null) as Record<string, InputValue | undefined>;
  for (const [key, below] of needs) {
    if (typeof key === 'string' && Object.hasOwn(value, key)) picked[key] = pick(value[key], below);
  }
  return picked;
}

/** Each at its place. */
function pickElements(values: readonly InputValue[], needs: ReadonlyMap<string | number, InputNeeds>): InputValue {
  const picked: InputValue[] = [];
  for (const [index, below] of needs) {
    if (typeof index !== 'number' || index >= values.length) continue;
    while (picked.length <= index) picked.push(null);
    picked[index] = pick(values[index], below) ?? null;
  }
  return picked;
}

function isObject(value: InputValue | undefined): value is InputObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJSON(value);
}
