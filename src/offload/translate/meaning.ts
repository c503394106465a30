import type { LeftReason } from '../translated-policy.ts';
import type { TextMatch } from '../offload-rules.ts';
import type { Bounds } from './formula.ts';

/** What a Rego term stands for, as far as Envoy can know it. Undefined terms pass no test. */
export type Meaning =
  | { readonly kind: 'constant'; readonly value: unknown; readonly isSet?: boolean }
  | TextSymbol
  | ListSymbol
  | NumberSymbol
  | TruthSymbol
  /** A position that a condition goes through: `some i`. */
  | { readonly kind: 'position'; readonly variable: string }
  /** Never there. */
  | { readonly kind: 'nothing' }
  /** Nothing that Envoy knows. */
  | UnknownSymbol;

/** A text of the request. */
export interface TextSymbol {
  readonly kind: 'text';
  readonly test: (match: TextMatch) => Bounds;
  readonly defined: Bounds;
  /** That it is there and not empty, where that can be said better than by a test. */
  readonly notEmpty?: Bounds;
  /** The request target with its query, whose path is known by itself. */
  readonly isTarget?: boolean;
  /** Why less than all can be said of it. */
  readonly limits?: Cause;
  /** Goes through a list: only one condition may speak of it. */
  readonly variable?: string;
}

export interface ListSymbol {
  readonly kind: 'list';
  readonly at: (index: number) => Meaning;
  readonly each: (variable: string) => Meaning;
  readonly includes: (text: string) => Bounds;
  /** How many members it has; absent where that cannot be said. */
  readonly count?: NumberSymbol;
  readonly defined: Bounds;
}

export type Comparison = 'eq' | 'neq' | 'lt' | 'lte' | 'gt' | 'gte';

export interface NumberSymbol {
  readonly kind: 'number';
  /** With a safe integer. */
  readonly compare: (comparison: Comparison, wanted: number) => Bounds;
  readonly defined: Bounds;
  /** For what positions are compared with: `count(input.parsed_path) - 1`. */
  readonly role?: 'segments' | 'last_segment';
}

/** A boolean. */
export interface TruthSymbol {
  readonly kind: 'truth';
  readonly bounds: Bounds;
  /** Where it is true or false. */
  readonly defined: Bounds;
}

export interface UnknownSymbol {
  readonly kind: 'unknown';
  readonly cause: Cause;
}

/** Why something is left to the call. */
export interface Cause {
  readonly reason: LeftReason;
  readonly message: string;
  readonly hint?: string;
}

export const NOTHING: Meaning = { kind: 'nothing' };

export const constant = (value: unknown): Meaning => ({ kind: 'constant', value });
export const truth = (bounds: Bounds, defined: Bounds): TruthSymbol => ({ kind: 'truth', bounds, defined });

export function unknown(reason: LeftReason, message: string, hint?: string): UnknownSymbol {
  return { kind: 'unknown', cause: { reason, message, ...(hint === undefined ? {} : { hint }) } };
}

export function noMatcher(what: string, hint?: string): UnknownSymbol {
  return unknown('no_matcher', `${what} has no equal in Envoy's matchers`, hint);
}
