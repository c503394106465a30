import { OPERATORS } from './operators.ts';
import { REFERENCES } from './references.ts';
import type { Translators } from './terms.ts';

/** What svidgate translates. */
export const TRANSLATORS: Translators = { references: REFERENCES, operators: OPERATORS };
