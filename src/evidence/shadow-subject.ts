/** Who asked for what, as far as a report says it: few values, and nothing of a request that may be secret. */
export interface ShadowSubject {
  /** The SPIFFE ID of a verified peer, or `unverified`. */
  readonly principal: string;
  /** Of RFC 9110, or `other`; `-` where there is no HTTP request. */
  readonly method: string;
  /** The name that the route gives itself, or host and first segment of the path. */
  readonly route: string;
}

/** What a subject is made of, as Envoy sent it. */
export interface SubjectParts {
  /** Undefined for a peer that nobody verified. */
  readonly spiffeId: string | undefined;
  readonly method: string;
  readonly host: string;
  /** With its query. */
  readonly path: string;
  /** `svidgate.route` of the route's context_extensions; empty without. */
  readonly route: string;
}

export const UNVERIFIED = 'unverified';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE']);
const MAX_ROUTE_LENGTH = 200;
const HOST = /^[a-z0-9.[\]:_-]{1,100}$/;
/** What a segment of a fixed path looks like: a gRPC service, a word, a version. */
const SEGMENT = /^[A-Za-z][A-Za-z0-9._-]{0,63}$/;
/** Account numbers, dates, hashes, UUIDs. */
const IDENTIFIER = /\d{3}|[0-9a-f]{8}|[0-9A-F]{8}/;

export function shadowSubject(parts: SubjectParts): ShadowSubject {
  const { spiffeId = UNVERIFIED, method } = parts;
  return {
    principal: spiffeId,
    method: METHODS.has(method) ? method : method === '' ? '-' : 'other',
    route: routeOf(parts),
  };
}

function routeOf({ route, host, path }: SubjectParts): string {
  const given = route.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_ROUTE_LENGTH);
  if (given !== '') return given;
  const name = host.toLowerCase();
  return `${HOST.test(name) ? name : '?'}${shownPath(path)}`;
}

/** The first segment, unless it may be the id of something; of the rest, that there is one. */
function shownPath(path: string): string {
  const [first = '', ...rest] = (path.split(/[?#]/, 1)[0] ?? '').replace(/^\//, '').split('/');
  if (first === '' && rest.length === 0) return '/';
  const shown = SEGMENT.test(first) && !IDENTIFIER.test(first) ? first : '*';
  return rest.length === 0 ? `/${shown}` : `/${shown}/*`;
}
