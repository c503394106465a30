import { isJsonObject } from '../replay/exact-member.ts';
import { ABSENT, valueAt, withValue, type Json, type Path } from './input-path.ts';

const HTTP: Path = ['attributes', 'request', 'http'];
const PATH: Path = [...HTTP, 'path'];
const PEER: Path = ['svidgate', 'peer'];
const CALLER: Path = ['svidgate', 'caller'];

/** A request as the gate shows one to a policy, of somebody who is nobody in particular. */
export const PLAIN_REQUEST: Json = {
  attributes: {
    request: {
      http: {
        id: '1',
        method: 'GET',
        path: '/',
        host: 'service.test',
        scheme: 'https',
        protocol: 'HTTP/1.1',
        headers: {},
      },
    },
    source: {},
    destination: {},
    contextExtensions: {},
    metadataContext: {},
  },
  parsed_path: [''],
  parsed_query: {},
  parsed_body: null,
  truncated_body: false,
  svidgate: {
    policy: 'default',
    peer: { verified: false, reason: 'absent' },
    caller: { kind: 'anonymous', spiffe_ids: [], listener: 'gate' },
    jwt: { verified: false, reason: 'absent', tokens: [] },
    xfcc: [],
  },
};

/** What every HTTP request has: without it none can be told apart. */
const ALWAYS: readonly Path[] = [[...HTTP, 'method'], PATH, ['parsed_path'], ['parsed_query'], ['truncated_body']];

export function isAlwaysThere(path: Path): boolean {
  return ALWAYS.some((always) => path.length <= always.length && path.every((key, at) => key === always[at]));
}

/** From which of the two the other one follows. */
export type Leading = 'path' | 'parsed_path';

/** The request with everything that follows from something else in it as it would be; undefined where none can be like that. */
export function coherent(input: unknown, leading: Leading): unknown {
  if (!isJsonObject(input) || !isJsonObject(input['attributes'])) return undefined;
  const withPath = leading === 'path' ? fromPath(input) : fromSegments(input);
  return withPath === undefined ? undefined : withPeer(withPrincipal(withPath));
}

function fromPath(input: unknown): unknown {
  const path = valueAt(input, PATH);
  if (typeof path !== 'string') return undefined;
  const [before = '', ...rest] = path.split('?');
  const segments = decode(before)?.replace(/^\/+/, '').split('/');
  if (segments === undefined) return undefined;
  const query = new Map<string, string[]>();
  for (const [name, value] of new URLSearchParams(rest.join('?'))) query.set(name, [...(query.get(name) ?? []), value]);
  return { ...(input as Json), parsed_path: segments, parsed_query: Object.fromEntries(query) };
}

function fromSegments(input: unknown): unknown {
  const segments = valueAt(input, ['parsed_path']);
  const query = valueAt(input, ['parsed_query']);
  if (!Array.isArray(segments) || !segments.every((each) => typeof each === 'string') || segments.length === 0) {
    return undefined;
  }
  // Leading slashes are cut, and a slash inside is an escape.
  if (segments.length > 1 && segments[0] === '') return undefined;
  const parameters = isJsonObject(query)
    ? Object.entries(query).flatMap(([name, values]) =>
        (Array.isArray(values) ? (values as readonly unknown[]) : [values]).map((value): [string, string] => [
          name,
          String(value),
        ]),
      )
    : [];
  const search = new URLSearchParams(parameters).toString();
  const path = `/${segments.map(escapeSegment).join('/')}${search === '' ? '' : `?${search}`}`;
  return fromPath(withValue(input, PATH, path));
}

function escapeSegment(segment: string): string {
  return segment.replaceAll(/[%?#\s\p{Cc}]/gu, encodeURIComponent);
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** `source_principal` is a copy. */
function withPrincipal(input: unknown): unknown {
  const copy = valueAt(input, ['source_principal']);
  const principal = valueAt(input, ['attributes', 'source', 'principal']);
  if (typeof principal === 'string' && principal !== '') return withValue(input, ['source_principal'], principal);
  if (typeof copy === 'string' && copy !== '') return withValue(input, ['attributes', 'source', 'principal'], copy);
  return withValue(input, ['source_principal'], ABSENT);
}

/** Nobody is known who was not verified. */
function withPeer(input: unknown): unknown {
  let peer = input;
  const verified = valueAt(peer, [...PEER, 'verified']);
  const spiffeId = valueAt(peer, [...PEER, 'spiffe_id']);
  if (verified === true) {
    if (typeof spiffeId !== 'string') peer = withValue(peer, [...PEER, 'spiffe_id'], 'spiffe://example.test/anybody');
    peer = withValue(peer, [...PEER, 'reason'], ABSENT);
  } else {
    peer = withValue(withValue(peer, [...PEER, 'spiffe_id'], ABSENT), [...PEER, 'serial'], ABSENT);
    peer = withValue(peer, [...PEER, 'verified'], false);
  }
  const ids = valueAt(peer, [...CALLER, 'spiffe_ids']);
  const kind = valueAt(peer, [...CALLER, 'kind']);
  if (kind === 'anonymous') return withValue(peer, [...CALLER, 'spiffe_ids'], []);
  return Array.isArray(ids) ? peer : withValue(peer, [...CALLER, 'spiffe_ids'], []);
}

/** What has to be said first so that the value can be there at all. */
export function impliedBy(path: Path, value: unknown): readonly (readonly [Path, unknown])[] {
  const [root, part, field] = path;
  if (root !== 'svidgate' || value === ABSENT) return [];
  if (part === 'peer' && field === 'spiffe_id') return [[[...PEER, 'verified'], true]];
  if (part === 'caller' && field === 'spiffe_ids') return [[[...CALLER, 'kind'], 'attested']];
  return [];
}
