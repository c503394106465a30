import type { PeerMatch, TextMatch } from '../offload-rules.ts';
import { matchesText } from '../translated-policy.ts';
import type { Formula } from './formula.ts';
import { likeRegex, quoteRegex } from './text-match.ts';

const SEGMENT = '[A-Za-z0-9_-][A-Za-z0-9._-]*';
const TRUST_DOMAIN = 'spiffe://[a-z0-9._-]+';

/** The peers of a formula about them alone, where all of the parts hold; undefined where Envoy cannot be told them. */
export function peerMatch(parts: readonly Formula[]): PeerMatch | 'nobody' | undefined {
  if (parts.length === 0) return { kind: 'anyone', except: [] };
  const ids = namedIds({ kind: 'all', of: parts });
  if (ids !== undefined) {
    const whole: Formula = { kind: 'all', of: parts };
    const [first, ...rest] = ids
      .filter((id) => holdsFor(whole, id))
      .map((text): TextMatch => ({ kind: 'exact', text }));
    return first === undefined ? 'nobody' : { kind: 'peers', of: [first, ...rest], except: [] };
  }
  const except: TextMatch[] = [];
  const wanted: TextMatch[][] = [];
  let isVerified = false;
  for (const part of parts) {
    if (part.kind === 'peer' && part.match === undefined) isVerified = true;
    else if (part.kind === 'not' && part.of.kind === 'peer' && part.of.match !== undefined) except.push(part.of.match);
    else {
      const prefixes = prefixesOf(part);
      if (prefixes === undefined) return undefined;
      wanted.push(prefixes);
    }
  }
  if (wanted.length > 1) return undefined;
  if (wanted.length === 0 && !isVerified) return { kind: 'anyone', except };
  const [first, ...rest] = wanted[0] ?? [likeRegex(`${TRUST_DOMAIN}(?:/${SEGMENT})+`)];
  return first === undefined ? 'nobody' : { kind: 'peers', of: [first, ...rest], except };
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
      return false;
  }
}

function prefixesOf(part: Formula): TextMatch[] | undefined {
  const parts = part.kind === 'any' ? part.of : [part];
  const regexes = parts.map((each) =>
    each.kind === 'peer' && each.match?.kind === 'prefix' ? beneath(each.match.text) : undefined,
  );
  const known = regexes.filter((each) => each !== undefined);
  return known.length === regexes.length ? known.map(likeRegex) : undefined;
}

/** Well-formed IDs that begin with the text: one that names the whole trust domain, and of whole characters of a path. */
function beneath(prefix: string): string | undefined {
  const found = /^spiffe:\/\/[a-z0-9._-]+\/((?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*)([A-Za-z0-9_-][A-Za-z0-9._-]*)?$/.exec(
    prefix,
  );
  if (found === null) return undefined;
  const begun = found[2] !== undefined;
  return `${quoteRegex(prefix)}${begun ? '[A-Za-z0-9._-]*' : SEGMENT}(?:/${SEGMENT})*`;
}
