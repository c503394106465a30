import { SvidgateError } from '../../core/index.ts';

/**
 * The path and query of a request as opa-envoy-plugin gives them to policies: Go's `url.PathUnescape` and
 * `url.ParseQuery`. Bytes that are not UTF-8 after unescaping become U+FFFD, as in Go's JSON.
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

function parseQuery(query: string): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (const pair of query.split('&')) {
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

/** `+` is a space in the query only; each `%` needs two hexadecimal digits. */
function unescapeGo(text: string, part: 'path' | 'query'): string {
  const spaced = part === 'query' ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  if (/%(?![0-9A-Fa-f]{2})/.test(spaced)) {
    throw new SvidgateError('invalid_request', `the ${part} has a bad percent-encoding`);
  }
  const bytes = spaced
    .split(/(%[0-9A-Fa-f]{2})/)
    .map((piece) => (piece.startsWith('%') ? Buffer.from(piece.slice(1), 'hex') : Buffer.from(piece, 'utf8')));
  return Buffer.concat(bytes).toString('utf8');
}
