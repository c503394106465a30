import type { RequestMatch, TextMatch } from '../offload-rules.ts';
import type { Formula } from './formula.ts';
import { fitsEnvoy, quoteRegex } from './text-match.ts';

/** What `input.parsed_path` is like, for plain requests: the segments of a path that begins with one slash and has no escapes. */
export interface PathShape {
  /** By index; none for a segment of which nothing is asked but that it is there. */
  readonly segments: Readonly<Record<number, SegmentMatch>>;
  readonly atLeast: number;
  readonly atMost?: number;
}

export type SegmentMatch =
  | { readonly kind: 'exact'; readonly text: string }
  | { readonly kind: 'filled' }
  /** A regex that matches no slash. */
  | { readonly kind: 'regex'; readonly regex: string };

/** A character of a segment. */
export const SEGMENT_CHARACTER = '[!-.0-~]';
/** What may follow a segment. */
const REST = '(?:/[!-~]*)?';
const MAX_OPTIONAL = 8;

export const anyPath: PathShape = { segments: {}, atLeast: 1 };

export function segmentIs(index: number, match: SegmentMatch): PathShape {
  return { segments: { [index]: match }, atLeast: index + 1 };
}

/** Puts shapes that have to hold together into one, where they can be. */
export function joinPaths(formulas: readonly Formula[]): readonly Formula[] {
  if (formulas.filter(({ kind }) => kind === 'path').length < 2) return formulas;
  const joined: Formula[] = [];
  for (const formula of formulas) {
    if (formula.kind !== 'path') {
      joined.push(formula);
      continue;
    }
    let isJoined = false;
    for (const [at, before] of joined.entries()) {
      const both = before.kind === 'path' ? join(before.shape, formula.shape) : undefined;
      if (both === undefined) continue;
      joined[at] = both === 'nothing' ? { kind: 'false' } : { kind: 'path', shape: both };
      isJoined = true;
      break;
    }
    if (!isJoined) joined.push(formula);
  }
  return joined;
}

/** Undefined where one segment has two matches that are not one. */
function join(one: PathShape, other: PathShape): PathShape | 'nothing' | undefined {
  const segments: Record<number, SegmentMatch> = { ...one.segments };
  for (const [key, match] of Object.entries(other.segments)) {
    const before = segments[Number(key)];
    const both = before === undefined ? match : joinSegments(before, match);
    if (both === undefined || both === 'nothing') return both;
    segments[Number(key)] = both;
  }
  const atLeast = Math.max(one.atLeast, other.atLeast);
  const atMost = Math.min(one.atMost ?? Infinity, other.atMost ?? Infinity);
  if (atMost < atLeast) return 'nothing';
  return { segments, atLeast, ...(atMost === Infinity ? {} : { atMost }) };
}

function joinSegments(one: SegmentMatch, other: SegmentMatch): SegmentMatch | 'nothing' | undefined {
  if (JSON.stringify(one) === JSON.stringify(other)) return one;
  if (one.kind === 'exact' && other.kind === 'exact') return 'nothing';
  if (one.kind === 'filled' && other.kind === 'exact') return other.text === '' ? 'nothing' : other;
  if (one.kind === 'exact' && other.kind === 'filled') return one.text === '' ? 'nothing' : one;
  return undefined;
}

/** The matches that must all hold; undefined where Envoy would need a regex that is too large. None: any path. */
export function pathMatches(shape: PathShape): readonly RequestMatch[] | undefined {
  const { atMost, segments } = shape;
  const asked = Object.keys(segments).map(Number);
  const length = Math.max(shape.atLeast, 1, ...asked.map((index) => index + 1));
  if (atMost !== undefined && atMost - length > MAX_OPTIONAL) return undefined;
  if (length > 64) return undefined;
  const parts = Array.from({ length }, (_, index): SegmentMatch | undefined => segments[index]);
  const texts = leadingTexts(parts);
  const base = texts.map((text) => `/${text}`).join('');
  if (texts.length === length && atMost === length) return [path({ kind: 'exact', text: base })];
  if (atMost === undefined && texts.length === length) return [openPath(base)];
  if (atMost === undefined && texts.length === length - 1 && parts.at(-1) === undefined) {
    return length === 1 ? [] : [path({ kind: 'prefix', text: `${base}/` })];
  }
  return regexMatches(parts, { base, known: texts.length, atMost });
}

/** A path, or anything beneath it. */
function openPath(base: string): RequestMatch {
  return {
    kind: 'any',
    of: [path({ kind: 'exact', text: base }), path({ kind: 'prefix', text: `${base}/` })],
  };
}

function regexMatches(
  parts: readonly (SegmentMatch | undefined)[],
  { base, known, atMost }: { readonly base: string; readonly known: number; readonly atMost: number | undefined },
): readonly RequestMatch[] | undefined {
  const rest = atMost === undefined ? REST : optional(atMost - parts.length);
  const regexes = parts.map(segmentRegex);
  const whole = `/${regexes.join('/')}${rest}`;
  if (fitsEnvoy(whole)) return [path({ kind: 'regex', regex: whole })];
  // The texts at the front are left to a prefix.
  const loose = parts.map((_, index) => (index < known ? `${SEGMENT_CHARACTER}*` : (regexes[index] ?? '')));
  const counted = `/${loose.join('/')}${rest}`;
  if (known === 0 || known === parts.length || !fitsEnvoy(counted)) return undefined;
  return [path({ kind: 'prefix', text: `${base}/` }), path({ kind: 'regex', regex: counted })];
}

function optional(times: number): string {
  return times === 0 ? '' : `(?:/${SEGMENT_CHARACTER}*){0,${times}}`;
}

function segmentRegex(match: SegmentMatch | undefined): string {
  switch (match?.kind) {
    case undefined:
      return `${SEGMENT_CHARACTER}*`;
    case 'filled':
      return `${SEGMENT_CHARACTER}+`;
    case 'exact':
      return quoteRegex(match.text);
    case 'regex':
      return `(?:${match.regex})`;
  }
}

function leadingTexts(parts: readonly (SegmentMatch | undefined)[]): readonly string[] {
  const end = parts.findIndex((part) => part?.kind !== 'exact');
  return parts.slice(0, end === -1 ? undefined : end).map((part) => (part?.kind === 'exact' ? part.text : ''));
}

function path(match: TextMatch): RequestMatch {
  return { kind: 'path', match };
}
