import type { RequestMatch, TextMatch } from '../offload-rules.ts';
import { matchesText } from '../translated-policy.ts';
import { all, any, FALSE, formulaKey, not, TRUE, type Formula } from './formula.ts';
import { pathMatches } from './path-shape.ts';
import { fitsEnvoy } from './text-match.ts';

/** Which side of a condition is kept where Envoy cannot take the whole of it. */
type Side = 'under' | 'over';

/** The matcher of a formula about the request; undefined where it can never hold. */
export function requestMatch(formula: Formula, side: Side): RequestMatch | undefined {
  const simple = simplify(formula, side);
  return simple.kind === 'false' ? undefined : matcherOf(simple);
}

/** The same in what Envoy takes, and without what follows from the rest of it. */
export function simplify(formula: Formula, side: Side): Formula {
  return withOneRefusal(withKnownPath(withinLimits(formula, side)));
}

/** Several patterns that a path must not have are one. */
function withOneRefusal(formula: Formula): Formula {
  if (formula.kind !== 'all') return formula;
  const parts = [...new Map(formula.of.map((each) => [formulaKey(each), each])).values()];
  const regexes = parts.map(refusedRegex).filter((regex) => regex !== undefined);
  const joined = regexes.join('|');
  if (regexes.length < 2 || !fitsEnvoy(joined)) return all(parts);
  const rest = parts.filter((each) => refusedRegex(each) === undefined);
  return all([...rest, not({ kind: 'request', match: { kind: 'path', match: { kind: 'regex', regex: joined } } })]);
}

function refusedRegex(formula: Formula): string | undefined {
  if (formula.kind !== 'not' || formula.of.kind !== 'request' || formula.of.match.kind !== 'path') return undefined;
  const { match } = formula.of.match;
  return match.kind === 'regex' && !match.regex.includes('(?i:') ? match.regex : undefined;
}

/** Paths as matchers; what is too large for Envoy is left out, on the safe side. */
function withinLimits(formula: Formula, side: Side): Formula {
  const known = limited[side].get(formula) ?? limit(formula, side);
  limited[side].set(formula, known);
  return known;
}

/** The rows of a table have most of their conditions in common. */
const limited: Readonly<Record<Side, WeakMap<Formula, Formula>>> = { under: new WeakMap(), over: new WeakMap() };

function limit(formula: Formula, side: Side): Formula {
  const lost = side === 'under' ? FALSE : TRUE;
  switch (formula.kind) {
    case 'all':
      return all(formula.of.map((each) => withinLimits(each, side)));
    case 'any':
      return any(formula.of.map((each) => withinLimits(each, side)));
    case 'not':
      return not(withinLimits(formula.of, side === 'under' ? 'over' : 'under'));
    case 'path': {
      const matches = pathMatches(formula.shape);
      return matches === undefined ? lost : all(matches.map((match) => ({ kind: 'request', match })));
    }
    case 'request': {
      const match = 'match' in formula.match ? formula.match.match : undefined;
      const isTooLarge = typeof match === 'object' && match.kind === 'regex' && !fitsEnvoy(match.regex);
      return isTooLarge ? lost : formula;
    }
    case 'true':
    case 'false':
      return formula;
    // Not of the request.
    case 'peer':
    case 'caller':
    case 'header':
      return lost;
  }
}

/** What else is asked of a path that is given is known now. */
function withKnownPath(formula: Formula): Formula {
  if (formula.kind !== 'all') return formula;
  const paths = formula.of.map(exactPath).filter((text) => text !== undefined);
  const [known] = paths;
  if (known === undefined) return formula;
  const rest = formula.of.filter((each) => exactPath(each) !== known);
  const given: Formula = { kind: 'request', match: { kind: 'path', match: { kind: 'exact', text: known } } };
  return all([given, ...rest.map((each) => decide(each, known))]);
}

function exactPath(formula: Formula): string | undefined {
  if (formula.kind !== 'request' || formula.match.kind !== 'path') return undefined;
  return formula.match.match.kind === 'exact' ? formula.match.match.text : undefined;
}

function decide(formula: Formula, path: string): Formula {
  switch (formula.kind) {
    case 'all':
      return all(formula.of.map((each) => decide(each, path)));
    case 'any':
      return any(formula.of.map((each) => decide(each, path)));
    case 'not':
      return not(decide(formula.of, path));
    case 'request': {
      if (formula.match.kind !== 'path') return formula;
      return isMatch(formula.match.match, path) ? TRUE : FALSE;
    }
    case 'true':
    case 'false':
    case 'path':
    case 'peer':
    case 'caller':
    case 'header':
      return formula;
  }
}

function isMatch(match: TextMatch, path: string): boolean {
  return matchesText(match, path);
}

/** Of a formula about the request that is not `false`. */
export function matcherOf(formula: Formula): RequestMatch {
  switch (formula.kind) {
    case 'true':
      return { kind: 'always' };
    case 'all':
    case 'any': {
      const [first, ...rest] = formula.of.toSorted((one, other) => cost(one) - cost(other)).map(matcherOf);
      return first === undefined ? NEVER_MATCHES : { kind: formula.kind, of: [first, ...rest] };
    }
    case 'not':
      return { kind: 'not', of: matcherOf(formula.of) };
    case 'request':
      return formula.match;
    case 'false':
    case 'path':
    case 'peer':
    case 'caller':
    case 'header':
      return NEVER_MATCHES;
  }
}

const NEVER_MATCHES: RequestMatch = { kind: 'not', of: { kind: 'always' } };

/** What is cheap, and seldom true, is asked first. */
function cost(formula: Formula): number {
  switch (formula.kind) {
    case 'request':
      return matchCost(formula.match);
    case 'not':
      return 4 + cost(formula.of);
    case 'all':
    case 'any':
      return Math.max(...formula.of.map(cost)) + 1;
    case 'true':
    case 'false':
    case 'path':
    case 'peer':
    case 'caller':
    case 'header':
      return 0;
  }
}

function matchCost(match: RequestMatch): number {
  if (!('match' in match) || match.match === 'present') return 1;
  const costs: Readonly<Record<TextMatch['kind'], number>> = { exact: 0, prefix: 1, suffix: 2, contains: 3, regex: 8 };
  return costs[match.match.kind] + (match.kind === 'path' ? 0 : 1);
}
