import type { CallerCondition, CallerIdTest } from '../translated-policy.ts';
import type { HeaderTest, RequestMatch, TextMatch } from '../offload-rules.ts';
import { joinPaths, type PathShape } from './path-shape.ts';

/** A condition in the terms of Envoy's rules, before it is known which rules it takes. */
export type Formula =
  | { readonly kind: 'true' | 'false' }
  | { readonly kind: 'all' | 'any'; readonly of: readonly Formula[] }
  | { readonly kind: 'not'; readonly of: Formula }
  | { readonly kind: 'request'; readonly match: RequestMatch }
  /** Of the path in its segments. Kept apart, since several are one where they meet. */
  | { readonly kind: 'path'; readonly shape: PathShape }
  /** The peer's SPIFFE ID; without a match, any. */
  | { readonly kind: 'peer'; readonly match?: TextMatch }
  | { readonly kind: 'caller'; readonly test: CallerIdTest }
  /** All headers of a name, joined. In `under` alone. */
  | { readonly kind: 'header'; readonly test: HeaderTest };

/** Two sides of one condition, for requests that are plain (see plain-requests.ts): `under` implies it, and it implies `over`. */
export interface Bounds {
  readonly under: Formula;
  readonly over: Formula;
}

export const TRUE: Formula = { kind: 'true' };
export const FALSE: Formula = { kind: 'false' };
export const ALWAYS: Bounds = { under: TRUE, over: TRUE };
export const NEVER: Bounds = { under: FALSE, over: FALSE };
export const UNKNOWN: Bounds = { under: FALSE, over: TRUE };

export const request = (match: RequestMatch): Formula => ({ kind: 'request', match });

export function all(formulas: readonly Formula[]): Formula {
  const flat = joinPaths(formulas.flatMap((each) => (each.kind === 'all' ? each.of : [each])));
  const kept = withoutRepeats(flat.filter(({ kind }) => kind !== 'true'));
  if (kept.some(({ kind }) => kind === 'false')) return FALSE;
  const [only] = kept;
  if (only === undefined) return TRUE;
  return kept.length === 1 ? only : { kind: 'all', of: kept };
}

export function any(formulas: readonly Formula[]): Formula {
  const flat = formulas.flatMap((each) => (each.kind === 'any' ? each.of : [each]));
  const kept = withoutRepeats(flat.filter(({ kind }) => kind !== 'false'));
  if (kept.some(({ kind }) => kind === 'true')) return TRUE;
  const [only] = kept;
  if (only === undefined) return FALSE;
  return kept.length === 1 ? only : { kind: 'any', of: kept };
}

export function not(formula: Formula): Formula {
  switch (formula.kind) {
    case 'true':
      return FALSE;
    case 'false':
      return TRUE;
    case 'not':
      return formula.of;
    case 'all':
      return any(formula.of.map(not));
    case 'any':
      return all(formula.of.map(not));
    case 'request':
    case 'path':
    case 'peer':
    case 'caller':
    case 'header':
      return { kind: 'not', of: formula };
  }
}

/** Holds exactly where the formula does. */
export const exact = (formula: Formula): Bounds => ({ under: formula, over: formula });

export function allOf(bounds: readonly Bounds[]): Bounds {
  return { under: all(bounds.map(({ under }) => under)), over: all(bounds.map(({ over }) => over)) };
}

export function anyOf(bounds: readonly Bounds[]): Bounds {
  return { under: any(bounds.map(({ under }) => under)), over: any(bounds.map(({ over }) => over)) };
}

/**
 * Where a condition does not hold. What of it is undefined may make the negation true or undefined, as OPA rewrote it: `under`
 * asks for everything to be there.
 */
export function negate(bounds: Bounds, defined: Bounds): Bounds {
  return { under: all([defined.under, not(bounds.over)]), over: not(bounds.under) };
}

/** Of what a formula speaks. */
export type Subject = 'request' | 'peer' | 'caller' | 'header';

export function subjectsOf(formula: Formula, found: Set<Subject> = new Set()): ReadonlySet<Subject> {
  switch (formula.kind) {
    case 'all':
    case 'any':
      for (const each of formula.of) subjectsOf(each, found);
      break;
    case 'not':
      subjectsOf(formula.of, found);
      break;
    case 'request':
    case 'path':
      found.add('request');
      break;
    case 'peer':
    case 'caller':
    case 'header':
      found.add(formula.kind);
      break;
    case 'true':
    case 'false':
      break;
  }
  return found;
}

/** Of a formula about the caller alone. */
export function callerCondition(formula: Formula): CallerCondition {
  switch (formula.kind) {
    case 'true':
      return { kind: 'all', of: [] };
    case 'all':
    case 'any':
      return { kind: formula.kind, of: formula.of.map(callerCondition) };
    case 'not':
      return { kind: 'not', of: callerCondition(formula.of) };
    case 'caller':
      return { kind: 'some_id', test: formula.test };
    case 'false':
    case 'request':
    case 'path':
    case 'peer':
    case 'header':
      return { kind: 'any', of: [] };
  }
}

/** What is shared is the same object. */
function withoutRepeats(formulas: readonly Formula[]): readonly Formula[] {
  return formulas.length < 2 ? formulas : [...new Set(formulas)];
}

const keys = new WeakMap<Formula, string>();

/** The same for formulas that say the same in the same words. */
export function formulaKey(formula: Formula): string {
  const known = keys.get(formula);
  if (known !== undefined) return known;
  const key =
    formula.kind === 'all' || formula.kind === 'any'
      ? `${formula.kind}(${formula.of.map(formulaKey).join()})`
      : formula.kind === 'not'
        ? `not(${formulaKey(formula.of)})`
        : JSON.stringify(formula);
  keys.set(formula, key);
  return key;
}
