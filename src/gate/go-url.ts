import { SvidgateError } from '../core/index.ts';
import { goText } from './body/go-text.ts';

/**
 * The path and query of a request as opa-envoy-plugin gives them to policies: Go's `url.PathUnescape` and
 * `url.ParseQuery`. Each byte that is not UTF-8 after unescaping becomes U+FFFD.
 */
export interface ParsedTarget {
  readonly path: readonly string[];
  readonly query: ReadonlyMap<string, readonly string[]>;
}

/** Throws `invalid_request` on a bad percent-encoding, or a semicolon in the query. */
export function parseTarget(target: string): ParsedTarget {
  const mark = target.indexOf('?');
  const rawPath = mark === -1 ? target : target.slice(0, mark);
  const path = unescapeGo(rawPath, 'path').replace(/^\/+/, '').split('/');
  return { path, query: mark === -1 ? new Map() : parseQuery(target.slice(mark + 1)) };
}

/** What Go reads of one query. */
const MAX_PARAMETERS = 10_000;

/** Throws `invalid_request`, also for more than 10,000 parameters. */
export function parseQuery(query: string): ReadonlyMap<string, readonly string[]> {
  const pairs = query.split('&', MAX_PARAMETERS + 1);
  if (pairs.length > MAX_PARAMETERS) throw new SvidgateError('invalid_request', 'the query has too many parameters');
  const values = new Map<string, string[]>();
  for (const pair of pairs) {
    if (pair.includes(';')) throw new SvidgateError('invalid_request', 'the query has a semicolon separator');
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = unescapeGo(equals === -1 ? pair : pair.slice(0, equals), 'query');
    const value = equals === -1 ? '' : unescapeGo(pair.slice(equals + 1), 'query');
    const list = values.get(name);
    if (list === undefined) values.set(name, [value]);
    else list.push(value);
  }
  return values;
}

const PERCENT = 0x25;

/** `+` is a space in the query only; each `%` needs two hexadecimal digits. One pass: a client may send many of them. */
function unescapeGo(text: string, part: 'path' | 'query'): string {
  const spaced = part === 'query' ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  const bytes = Buffer.from(spaced, 'utf8');
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    let byte = bytes[at] ?? 0;
    if (byte === PERCENT) {
      byte = hexDigit(bytes[at + 1]) * 16 + hexDigit(bytes[at + 2]);
      if (byte < 0) throw new SvidgateError('invalid_request', `the ${part} has a bad percent-encoding`);
      at += 2;
    }
    bytes[length] = byte;
    length += 1;
  }
  return goText(bytes.subarray(0, length));
}

/** The value of an ASCII digit, or far below zero. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1000;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1000;
}
