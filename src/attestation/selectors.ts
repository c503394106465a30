import { selectorOf, type Selector } from '../spiffe/index.ts';

/** What one attestor may say of one caller; a container can have hundreds of environment variables. */
const MAX_SELECTORS = 2048;
const MAX_LENGTH = 4096;

/**
 * What no selector may hold: control characters, line and paragraph separators, and marks that turn the direction of
 * text. Labels and variables are chosen by whoever starts a container, and end up in logs and terminals.
 */
const UNFIT = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

export interface AcceptedSelectors {
  readonly selectors: readonly Selector[];
  /** How many values were too long, unfit to be shown, or too many. */
  readonly leftOut: number;
}

/** Makes selectors of the values that an attestor found, each once. The type is the attestor's own, whatever they say. */
export function acceptSelectors(type: string, values: readonly string[]): AcceptedSelectors {
  const selectors = new Set<Selector>();
  let leftOut = 0;
  for (const value of values) {
    if (isFit(type, value) && selectors.size < MAX_SELECTORS) selectors.add(selectorOf(type, value));
    else leftOut += 1;
  }
  return { selectors: [...selectors], leftOut };
}

function isFit(type: string, value: string): boolean {
  return value !== '' && type.length + 1 + value.length <= MAX_LENGTH && value.isWellFormed() && !UNFIT.test(value);
}

const ENVIRONMENT = 'docker:env:';

/**
 * A selector as it may be shown: without the value of an environment variable, which may well be a password. All others
 * stay as they are.
 */
export function maskSelector(selector: string): string {
  if (!selector.startsWith(ENVIRONMENT)) return selector;
  const [name = ''] = selector.slice(ENVIRONMENT.length).split('=', 1);
  return `${ENVIRONMENT}${name}=***`;
}
