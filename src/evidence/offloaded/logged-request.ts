import { RequestMethod, timestampToMs } from '../../proto/index.ts';
import type { RequestFacts } from '../records/decision-facts.ts';
import { KEPT, type LoggedCommon, type LoggedEntry } from './logged-entry.ts';

/** What a log entry says of its request. */
export interface LoggedRequest {
  /** Epoch milliseconds; undefined where it is missing or cannot be. */
  readonly at: number | undefined;
  readonly method: string;
  readonly host: string;
  /** As the rules saw it, with its query; undefined where that cannot be told. */
  readonly path: string | undefined;
  /** The peer that Envoy verified, by the rule that it met. */
  readonly spiffeId: string | undefined;
  /** What a filter before the rules has kept: `host`, `path`, or a header in lower case. */
  readonly kept: (name: string) => string | undefined;
  /** Those that the configuration names, in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** For reports. */
  readonly facts: RequestFacts;
}

const MAX_SHORT = 1024;
const MAX_LONG = 16 * 1024;
const METHODS = new Map(Object.entries(RequestMethod).map(([name, number]) => [number as number, name]));

export function loggedRequest(
  entry: LoggedEntry,
  { verifiesPeer, now }: { readonly verifiesPeer: boolean; readonly now: number },
): LoggedRequest {
  const { request, commonProperties } = entry;
  const headers = new Map(
    Object.entries(request?.requestHeaders ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const number = request?.requestMethod ?? 0;
  const method = number === 0 ? (headers.get(':method') ?? '') : (METHODS.get(number) ?? '');
  const kept = keptOf(commonProperties);
  const host = kept('host') ?? request?.authority ?? '';
  const path = kept('path') ?? pathOf(request);
  const shownPath = path ?? request?.path ?? '';
  const text = (name: string): string | undefined => headers.get(name)?.slice(0, MAX_SHORT);
  return {
    at: timeOf(commonProperties, now),
    method,
    host,
    path,
    kept,
    spiffeId: verifiesPeer ? onlyUri(commonProperties) : undefined,
    headers,
    facts: {
      method: method.slice(0, MAX_SHORT),
      host: host.slice(0, MAX_SHORT),
      path: shownPath.slice(0, MAX_LONG),
      route: routeOf(commonProperties).slice(0, MAX_SHORT),
      requestId: (request?.requestId ?? '').slice(0, MAX_SHORT),
      ...present('traceparent', text('traceparent')),
      ...present('b3', text('b3')),
      ...present('b3TraceId', text('x-b3-traceid')),
      ...present('b3SpanId', text('x-b3-spanid')),
    },
  };
}

function present<K extends string>(key: K, value: string | undefined): { readonly [Key in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [Key in K]: string });
}

function keptOf(common: Common): (name: string) => string | undefined {
  const all = common?.metadata?.filterMetadata ?? {};
  const fields = Object.hasOwn(all, KEPT) ? (all[KEPT]?.fields ?? {}) : {};
  return (name) => {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const text = (value?.kind === 'stringValue' ? value.stringValue : '') ?? '';
    return text === '' || text.length > MAX_LONG ? undefined : text;
  };
}

/**
 * A route that rewrites paths leaves the one before in a header, which a client may send as well, and Envoy then keeps: which
 * of the two the rules saw cannot be told.
 */
function pathOf(request: LoggedEntry['request']): string | undefined {
  const { path = '', originalPath = '' } = request ?? {};
  if (path === '' || path.length > MAX_LONG) return undefined;
  return originalPath === '' || originalPath === path ? path : undefined;
}

type Common = LoggedCommon | null;

/** How a route names itself in reports: a custom tag of the access log. Checks say the same by `context_extensions`. */
const ROUTE_TAG = 'svidgate.route';

function routeOf(common: Common): string {
  const tags = common?.customTags ?? {};
  return Object.hasOwn(tags, ROUTE_TAG) ? (tags[ROUTE_TAG] ?? '') : '';
}

/** A rule for peers matches a certificate with one URI SAN only. */
function onlyUri(common: Common): string | undefined {
  const names = common?.tlsProperties?.peerCertificateProperties?.subjectAltName ?? [];
  const uris = names.flatMap(({ san, uri }) => (san === 'uri' && uri !== null ? [uri] : []));
  return uris.length === 1 ? uris[0] : undefined;
}

/** Further away than any request takes, or than clocks of one machine differ. */
const OLDEST_MS = 24 * 3_600_000;
const NEWEST_MS = 60_000;

function timeOf(common: Common, now: number): number | undefined {
  const time = common?.startTime;
  if (time === null || time === undefined) return undefined;
  const at = timestampToMs(time);
  return at > now - OLDEST_MS && at < now + NEWEST_MS ? at : undefined;
}
