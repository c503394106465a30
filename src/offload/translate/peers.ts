import type { PeerMatch, TextMatch } from '../offload-rules.ts';
import { matchesText } from '../translated-policy.ts';
import type { Formula } from './formula.ts';

/** The peers of a formula about them alone, where all of the parts hold; undefined where they are not named one by one. */
export function peerMatch(parts: readonly Formula[]): PeerMatch | 'nobody' | undefined {
  if (parts.length === 0) return { kind: 'anyone', except: [] };
  const whole: Formula = { kind: 'all', of: parts };
  const named = namedIds(whole);
  if (named === undefined) return undefined;
  const [first, ...rest] = named
    .filter((id) => holdsFor(whole, id))
    .map((text): TextMatch => ({ kind: 'exact', text }));
  return first === undefined ? 'nobody' : { kind: 'peers', of: [first, ...rest], except: [] };
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
