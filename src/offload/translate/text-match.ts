import type { TextMatch } from '../offload-rules.ts';

/** Any printable text. Classes are of ASCII: those of all characters make large programs of regexes. */
export const ANY_TEXT = '[ -~]*';

/** What RE2 reads as the text itself. */
export function quoteRegex(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}

export function isPrintable(text: string): boolean {
  return /^[ -~]*$/.test(text);
}

export const exactly = (text: string): TextMatch => ({ kind: 'exact', text });
export const likeRegex = (regex: string): TextMatch => ({ kind: 'regex', regex });

/** A regex of the whole text, without anchors. */
export function regexOf(match: TextMatch): string {
  return match.kind === 'regex' ? match.regex : placed(match.kind, quoteRegex(match.text));
}

/** The regex where it has to stand in a text. */
export function placed(kind: 'exact' | 'prefix' | 'suffix' | 'contains', regex: string): string {
  const before = kind === 'suffix' || kind === 'contains' ? ANY_TEXT : '';
  const after = kind === 'prefix' || kind === 'contains' ? ANY_TEXT : '';
  return before + regex + after;
}

/**
 * The regex of Rego's `regex.match`, which searches, for the whole text; undefined for one whose parts may mean something else
 * in another place, or that may be larger than Envoy takes: only groups, classes, `|`, `*`, `+`, `?`, `^`, `$`, `.` and
 * escapes of ASCII classes and punctuation.
 */
export function searchRegex(pattern: string): string | undefined {
  const flagged = pattern.startsWith('(?i)');
  const body = flagged ? pattern.slice('(?i)'.length) : pattern;
  if (!isPrintable(body) || !hasPlainSyntax(body)) return undefined;
  // A text that begins at the front needs nothing before it, and the same at its end.
  const hasOneBranch = !body.includes('|');
  const isFront = hasOneBranch && body.startsWith('^');
  const isBack = hasOneBranch && body.endsWith('$') && !/\\+\$$/.test(body);
  const middle = body.slice(isFront ? 1 : 0, isBack ? -1 : undefined);
  const group = flagged ? `(?i:${middle})` : `(?:${middle})`;
  return `${isFront ? '' : ANY_TEXT}${group}${isBack ? '' : ANY_TEXT}`;
}

const TOKEN = /\\[dwsDWS.\\/^$*+?()[\]{}|]|\(\?:|\[\^?(?:\\[dws.\\/^$*+?()[\]{}|-]|[^\\[\]])+\]|[^\\]/g;

function hasPlainSyntax(body: string): boolean {
  if (body.includes('[^]') || body.includes('[]')) return false;
  const tokens = body.match(TOKEN) ?? [];
  if (tokens.join('') !== body) return false;
  let depth = 0;
  let canRepeat = false;
  for (const token of tokens) {
    if (token === '(' || token === '(?:') depth += 1;
    if (token === ')') depth -= 1;
    const isRepeat = token === '*' || token === '+' || token === '?';
    if (depth < 0 || token === '[' || token === ']' || token === '{' || token === '}') return false;
    if (isRepeat && !canRepeat) return false;
    canRepeat = !isRepeat && !['(', '(?:', '|', '^', '$'].includes(token);
  }
  return depth === 0;
}

/** Whether it matches printable ASCII alone: `k` and `s` in any case may be other letters, too. */
export function isPrintableRegex(regex: string): boolean {
  if (regex.includes('(?i:') && /[ks]/i.test(regex)) return false;
  const withoutClasses = regex.replaceAll(/\\[.\\]|\[(?!\^)(?:\\.|[^\]\\])*\]/g, '');
  return !/\[\^|\\[DWSs]|\./.test(withoutClasses);
}

const MAX_REPEATS = 3;

/**
 * Whether JavaScript reads a regex of these as RE2 does, for texts of ASCII, in a time that is not more than a small power of their
 * length: one without groups in groups, alternatives or flags, that repeats single characters alone, in few places.
 */
export function isSimpleRegex(regex: string): boolean {
  const body = regex.replaceAll(/\\.|\[(?:\\.|[^\]\\])*\]/g, 'c').replace(/^(c\*)?\(\?:([^()]*)\)(c\*)?$/, '$1$2$3');
  if (/[()|{}]/.test(body) || repeatsIn(regex) > MAX_REPEATS) return false;
  try {
    return new RegExp(regex, 'su').source !== '';
  } catch {
    return false;
  }
}

const SEGMENT = '[^/]*';
/** Escapes, groups, segments and classes, of which none has a `*`, `+` or `?` that repeats on its own. */
const PARTS = /\\.|\(\?:|\[\^\/\]\*(?=\/|\)?$)|\[(?:\\.|[^\]\\])*\]|[*+?]/g;

/**
 * In how many places what was taken may have to be given back. What stops at the next `/` or the end is taken once, but again for each
 * place that a repeat before it may end at.
 */
export function repeatsIn(regex: string): number {
  const parts = (regex.match(PARTS) ?? []).filter((part) => part === SEGMENT || /^[*+?]$/.test(part));
  const first = parts.findIndex((part) => part !== SEGMENT);
  const repeats = parts.filter((part) => part !== SEGMENT).length;
  return first !== -1 && parts.includes(SEGMENT, first) ? repeats + 1 : repeats;
}

/** Envoy refuses regexes whose RE2 program is larger than 100. */
const MAX_PROGRAM = 95;

/** Whether Envoy takes the regex, by an estimate that is never below the real size. */
export function fitsEnvoy(regex: string): boolean {
  return estimate(regex) <= MAX_PROGRAM;
}

const SIZED = /\\.|\[\^(?:\\.|[^\]])*\]|\[(?:\\.|[^\]])*\]|\{(\d+)(?:,(\d*))?\}|\(\?i:|\(\?:|./gs;

function estimate(regex: string): number {
  const ignoresCase = regex.includes('(?i:');
  const open: number[] = [];
  let total = 4;
  let last = 0;
  let at = 0;
  const sums = [0];
  for (const [token, low, high] of regex.matchAll(SIZED)) {
    at += 1;
    if (token.startsWith('(')) {
      open.push(at);
      sums.push(0);
      continue;
    }
    if (token === ')') {
      last = (sums.pop() ?? 0) + 1;
      open.pop();
    } else if (low !== undefined) {
      const times = Math.max(Number(low), high === undefined || high === '' ? Number(low) + 1 : Number(high));
      // What is repeated was counted once.
      last *= Math.max(0, times - 1);
    } else last = sizeOf(token, ignoresCase);
    sums[sums.length - 1] = (sums.at(-1) ?? 0) + last;
  }
  total += sums[0] ?? 0;
  return total;
}

function sizeOf(token: string, ignoresCase: boolean): number {
  if (token.startsWith('[^') || token === '.' || /^\\[DWS]$/.test(token)) return 16;
  if (token.startsWith('[') || /^\\[dws]$/.test(token)) {
    const ranges = token.replaceAll(/^\[|\]$/g, '').match(/\\.|[ -~]-[ -~]|[ -~]/g)?.length ?? 1;
    return 2 * ranges - 1;
  }
  if (token === '*' || token === '+' || token === '?' || token === '|') return 1;
  return ignoresCase && /[ks]/i.test(token) ? 6 : 1;
}
