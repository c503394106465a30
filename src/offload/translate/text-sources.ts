import { pathOf, isSpiffeId } from '../../spiffe/index.ts';
import type { RequestMatch, TextMatch } from '../offload-rules.ts';
import {
  ALWAYS,
  any,
  all,
  exact,
  FALSE,
  negate,
  NEVER,
  not,
  request,
  TRUE,
  UNKNOWN,
  type Bounds,
  type Formula,
} from './formula.ts';
import type { Cause, TextSymbol } from './meaning.ts';
import { ANY_TEXT, fitsEnvoy, isPrintable, isPrintableRegex, isSimpleRegex, likeRegex } from './text-match.ts';

/** A text that Envoy matches, and that the gate may see in another form where it is not printable: `!` for bytes that are not UTF-8. */
export interface TextSource {
  readonly match: (match: TextMatch) => Formula;
  readonly defined: Bounds;
  /** Whether plain requests have nothing but printable ASCII there. */
  readonly isPlain?: boolean;
  /** Fields, not headers: the empty text counts as none. */
  readonly isNeverEmpty?: boolean;
}

export function textOf(source: TextSource): TextSymbol {
  return { kind: 'text', defined: source.defined, test: (match) => testSource(source, match) };
}

function testSource(source: TextSource, match: TextMatch): Bounds {
  if (match.kind === 'regex') return testRegex(source, match);
  if (match.text === '') {
    if (match.kind !== 'exact') return source.defined;
    return source.isNeverEmpty === true ? NEVER : exact(source.match(match));
  }
  const found = source.match(match);
  if (!isPrintable(match.text)) return source.isPlain === true ? NEVER : { under: FALSE, over: source.defined.over };
  // The gate may see this text where Envoy has other bytes.
  const mayDiffer = match.text.includes('!') && source.isPlain !== true;
  return { under: found, over: mayDiffer ? any([found, not(source.match(likeRegex(ANY_TEXT)))]) : found };
}

function testRegex(source: TextSource, match: TextMatch & { readonly kind: 'regex' }): Bounds {
  if (!fitsEnvoy(match.regex)) return { under: FALSE, over: source.defined.over };
  const found = source.match(match);
  if (source.isPlain === true) return exact(found);
  const printable = source.match(likeRegex(ANY_TEXT));
  return {
    under: all([found, ...(isPrintableRegex(match.regex) ? [] : [printable])]),
    over: all([source.defined.over, any([found, not(printable)])]),
  };
}

/** Of headers of which there is one. */
export function singleHeaderText(name: string): TextSymbol {
  const match = (match: TextMatch): Formula => request({ kind: 'header', name, match });
  return textOf({ match, defined: exact(match(likeRegex('[ -~]*'))) });
}

const SEVERAL: Cause = {
  reason: 'no_matcher',
  message: 'of several headers of a name Envoy looks at each, the gate at all of them, joined by commas',
  hint: '`==`, `in`, `contains`, that the header is there, and what it is not can be offloaded',
};

/**
 * Of headers of which there may be several. Envoy 1.38 and later take each by itself, earlier ones join them as the gate does:
 * only what holds in both ways is said.
 */
export function headerText(name: string): TextSymbol {
  const atom = (match: TextMatch | 'present'): Formula => request({ kind: 'header', name, match });
  const present = atom('present');
  const joined = (text: string): Formula => ({ kind: 'header', test: { name, oneOf: [text] } });
  return {
    kind: 'text',
    defined: exact(present),
    limits: SEVERAL,
    test(match) {
      if (match.kind === 'regex' || !isPrintable(match.text)) return { under: FALSE, over: present };
      if (match.text === '') return match.kind === 'exact' ? { under: joined(''), over: atom(match) } : exact(present);
      const found = atom(match);
      // What has a comma may be made of several; what has `!`, of bytes that are not UTF-8.
      const over = /[,!]/.test(match.text) ? present : found;
      const under = match.kind === 'exact' ? joined(match.text) : match.kind === 'contains' ? found : FALSE;
      return { under, over };
    },
  };
}

/** Of a field that is never the empty text, from a pseudo header. */
export function fieldText(name: string): TextSymbol {
  const match = (match: TextMatch): Formula => request({ kind: 'header', name, match });
  return textOf({ match, defined: { under: match(likeRegex('[ -~]+')), over: TRUE }, isNeverEmpty: true });
}

/** The request target: the path with its query. */
export function targetText(): TextSymbol {
  const text = textOf({
    match: (match) => request({ kind: 'header', name: ':path', match }),
    defined: ALWAYS,
    isPlain: true,
    isNeverEmpty: true,
  });
  return { ...text, isTarget: true, test: (match) => atFront(match) ?? text.test(match) };
}

/** Paths of plain requests begin with a slash. */
function atFront(match: TextMatch): Bounds | undefined {
  if ((match.kind !== 'exact' && match.kind !== 'prefix') || match.text === '') return undefined;
  if (!match.text.startsWith('/')) return NEVER;
  return match.kind === 'prefix' && match.text === '/' ? ALWAYS : undefined;
}

/** What paths of plain requests never have. */
const NEVER_IN_PATH = /[^!-~]|[#%?]/;

/** The path without its query. */
export function pathText(): TextSymbol {
  const source: TextSource = {
    match: (match) => request({ kind: 'path', match }),
    defined: ALWAYS,
    isPlain: true,
    isNeverEmpty: true,
  };
  const text = textOf(source);
  return {
    ...text,
    test: (match) => {
      if (match.kind !== 'regex' && NEVER_IN_PATH.test(match.text)) return NEVER;
      return atFront(match) ?? text.test(match);
    },
  };
}

/** The SNI of the connection. */
export function serverNameText(): TextSymbol {
  const match = (match: TextMatch): Formula => request({ kind: 'server_name', match });
  return textOf({ match, defined: { under: match(likeRegex('[ -~]+')), over: TRUE }, isNeverEmpty: true });
}

const VERIFIED: Formula = { kind: 'peer' };

/**
 * The SPIFFE ID of the peer. `principal` is what Envoy says of it, also where nothing is verified: what is said of a verified
 * peer holds of both, and nothing else is said here.
 */
export function peerText(kind: 'spiffe_id' | 'principal'): TextSymbol {
  const defined: Bounds = { under: VERIFIED, over: TRUE };
  return {
    kind: 'text',
    defined,
    test(match) {
      if (match.kind === 'exact') {
        const isWorkload = isSpiffeId(match.text) && pathOf(match.text) !== '';
        if (!isWorkload) return kind === 'spiffe_id' ? NEVER : UNKNOWN;
        return exact({ kind: 'peer', match });
      }
      if (match.kind === 'prefix' && (match.text === '' || 'spiffe://'.startsWith(match.text))) return defined;
      if (match.kind === 'regex') return isSimpleRegex(match.regex) ? exact({ kind: 'peer', match }) : UNKNOWN;
      if (!isPrintable(match.text)) return UNKNOWN;
      return match.text === '' ? defined : exact({ kind: 'peer', match });
    },
  };
}

/** One of the SPIFFE IDs of the Envoy that asks, whichever: at `variable` if it has one. */
export function callerText(variable: string | undefined): TextSymbol {
  return {
    kind: 'text',
    ...(variable === undefined ? {} : { variable }),
    defined: exact({ kind: 'caller', test: { kind: 'all', of: [] } }),
    test: (match) => {
      if (match.kind === 'regex') return UNKNOWN;
      return exact({ kind: 'caller', test: { kind: 'text', match } });
    },
  };
}

/** A text, or another where it is not there. */
export function orElse(text: TextSymbol, holdsForOther: (match: TextMatch) => boolean): TextSymbol {
  return {
    kind: 'text',
    defined: ALWAYS,
    test: (match) => {
      const found = text.test(match);
      if (!holdsForOther(match)) return found;
      const absent = negate(text.defined, ALWAYS);
      return { under: any([found.under, absent.under]), over: any([found.over, absent.over]) };
    },
  };
}

export function destinationIp(text: string): RequestMatch | undefined {
  const parts = text.split('.');
  const isAddress =
    parts.length === 4 && parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  return isAddress ? { kind: 'destination_ip', address: text, prefixLength: 32 } : undefined;
}
