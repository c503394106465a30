import { SvidgateError } from '../core/index.ts';

declare const selectorBrand: unique symbol;

/** What an attestor found out about a caller, as `type:value`, such as `unix:uid:1001`. */
export type Selector = string & { readonly [selectorBrand]: true };

const MAX_SELECTOR_LENGTH = 4096;

/** Throws `invalid_request` unless the text is `type:value` with both parts present. */
export function parseSelector(text: string): Selector {
  if (text.length > MAX_SELECTOR_LENGTH) {
    throw new SvidgateError('invalid_request', `selector is longer than ${MAX_SELECTOR_LENGTH} characters`);
  }
  if (!/^[a-z0-9_-]+:./su.test(text)) {
    throw new SvidgateError('invalid_request', 'a selector is written type:value, such as unix:uid:1001');
  }
  return text as Selector;
}

/** A selector from parts that the caller of this function knows to be well formed. */
export function selectorOf(type: string, value: string): Selector {
  return parseSelector(`${type}:${value}`);
}
