import type { PeerMatch, TextMatch } from '../offload-rules.ts';
import { matchesText } from '../translated-policy.ts';
import type { Formula } from './formula.ts';

/**
 * The peers of a formula about them alone, where all of the parts hold: named, or by parts of their SPIFFE IDs. Undefined where
 * that cannot be said so.
 */
export function peerMatch(parts: readonly Formula[]): PeerMatch | 'nobody' | undefined {
  if (parts.length === 0) return { kind: 'anyone', except: [] };
  const whole: Formula = { kind: 'all', of: parts };
  const named = namedIds(whole);
  if (named === undefined) return openMatch(parts);
  const [first, ...rest] = named
    .filter((id) => holdsFor(whole, id))
    .map((text): TextMatch => ({ kind: 'exact', text }));
  return first === undefined ? 'nobody' : { kind: 'peers', of: [first, ...rest], except: [] };
}

const EVERYBODY: TextMatch = { kind: 'prefix', text: 'spiffe://' };

/** Verified peers alone, also where the formula holds for others: what one match asks for, less what others do. */
function openMatch(parts: readonly Formula[]): PeerMatch | 'nobody' | undefined {
  let of: readonly [TextMatch, ...TextMatch[]] | undefined;
  const except: TextMatch[] = [];
  for (const part of parts.flatMap((each) => (each.kind === 'all' ? each.of : [each]))) {
    if (part.kind === 'false' || (part.kind === 'not' && part.of.kind === 'peer' && part.of.match === undefined)) {
      return 'nobody';
    }
    if (part.kind === 'true' || (part.kind === 'peer' && part.match === undefined)) continue;
    if (part.kind === 'not' && part.of.kind === 'peer' && part.of.match !== undefined) except.push(part.of.match);
    else {
      const matches = alternatives(part);
      if (matches === undefined || of !== undefined) return undefined;
      of = matches;
    }
  }
  return { kind: 'peers', of: of ?? [EVERYBODY], except };
}

function alternatives(part: Formula): readonly [TextMatch, ...TextMatch[]] | undefined {
  const [first, ...rest] = (part.kind === 'any' ? part.of : [part]).map((each) =>
    each.kind === 'peer' ? (each.match ?? EVERYBODY) : undefined,
  );
  if (first === undefined || rest.includes(undefined)) return undefined;
  return [first, ...rest.filter((each) => each !== undefined)];
}

/** The IDs that a formula names, when it holds for no others. */
function namedIds(formula: Formula): readonly string[] | undefined {
  switch (formula.kind) {
    case 'peer':
      return formula.match?.kind === 'exact' ? [formula.match.text] : undefined;
    case 'any': {
      const all = formula.of.map(namedIds);
      return all.includes(undefined) ? undefined : [...new Set(all.flatMap((each) => each ?? []))];
    }
    case 'all':
      return formula.of.map(namedIds).find((each) => each !== undefined);
    case 'true':
    case 'false':
    case 'not':
    case 'request':
    case 'path':
    case 'caller':
    case 'header':
      return undefined;
  }
}

function holdsFor(formula: Formula, id: string): boolean {
  switch (formula.kind) {
    case 'true':
      return true;
    case 'all':
      return formula.of.every((each) => holdsFor(each, id));
    case 'any':
      return formula.of.some((each) => holdsFor(each, id));
    case 'not':
      return !holdsFor(formula.of, id);
    case 'peer':
      return formula.match === undefined || matchesText(formula.match, id);
    case 'false':
    case 'request':
    case 'path':
    case 'caller':
    case 'header':
      return false;
  }
}
