import type { JsonRecord } from '../records/decision-record.ts';
import type { LoggedCommon, LoggedEntry } from './logged-entry.ts';
import type { LoggedRequest } from './logged-request.ts';

export type Path = readonly (string | number)[];

/** A part of the input that the log does not tell. */
export const UNKNOWN = Symbol('unknown');

/** What the log tells, and a route or a later filter may have changed before. */
export class Uncertain {
  readonly value: unknown;

  constructor(value: unknown) {
    this.value = value;
  }
}

/** What the parts of an input are made of. */
export interface Logged {
  readonly entry: LoggedEntry;
  readonly request: LoggedRequest;
  readonly policy: string;
  readonly callerIds: readonly string[];
}

/** Undefined: the request did not have it. Uncertain ones are for readers, and count as unknown. */
export type ReadPart = (logged: Logged) => unknown;

/** As `HttpRequest.protocol` of ext_authz has it, by HTTPVersion. */
const PROTOCOLS: readonly (string | undefined)[] = [undefined, 'HTTP/1.0', 'HTTP/1.1', 'HTTP/2', 'HTTP/3'];
const VERSION = { ext_authz: 'v3', encoding: 'protojson' };
const HTTP: Path = ['attributes', 'request', 'http'];
export const HEADERS: Path = [...HTTP, 'headers'];

const method: ReadPart = ({ request }) => (request.method === '' ? UNKNOWN : request.method);
const host: ReadPart = ({ request }) => {
  return request.kept('host') ?? new Uncertain(request.host === '' ? undefined : request.host);
};
const path: ReadPart = ({ request }) => request.path ?? UNKNOWN;
const scheme: ReadPart = ({ entry }) => entry.request?.scheme || UNKNOWN;
const isPeer = ({ request }: Logged): boolean => request.spiffeId !== undefined;
const principal: ReadPart = ({ entry }) =>
  principalOf(entry.commonProperties?.tlsProperties?.peerCertificateProperties);

/** What the log of every request tells: where it stands in an input, and what stands there. */
export const PARTS: readonly (readonly [Path, ReadPart])[] = [
  [['version'], () => VERSION],
  [['svidgate', 'policy'], ({ policy }) => policy],
  [['svidgate', 'caller', 'kind'], () => 'attested'],
  [['svidgate', 'caller', 'spiffe_ids'], ({ callerIds }) => callerIds],
  [['svidgate', 'peer', 'verified'], (logged) => isPeer(logged) || UNKNOWN],
  [['svidgate', 'peer', 'spiffe_id'], ({ request }) => request.spiffeId ?? UNKNOWN],
  [['svidgate', 'peer', 'reason'], (logged) => (isPeer(logged) ? undefined : UNKNOWN)],
  [['attributes', 'source', 'address'], sourceAddress],
  [['attributes', 'source', 'principal'], principal],
  [['source_principal'], principal],
  [
    ['attributes', 'destination', 'address'],
    ({ entry }) => socketInput(entry.commonProperties?.downstreamLocalAddress),
  ],
  [
    ['attributes', 'destination', 'principal'],
    ({ entry }) => principalOf(entry.commonProperties?.tlsProperties?.localCertificateProperties),
  ],
  [[...HTTP, 'method'], method],
  [[...HTTP, 'host'], host],
  [[...HTTP, 'path'], path],
  [[...HTTP, 'scheme'], scheme],
  [[...HTTP, 'protocol'], ({ entry }) => PROTOCOLS[entry.protocolVersion] ?? UNKNOWN],
  [[...HEADERS, ':method'], method],
  [[...HEADERS, ':authority'], host],
  [[...HEADERS, ':path'], path],
  [[...HEADERS, ':scheme'], scheme],
  [[...HEADERS, 'user-agent'], headerPart('user-agent', (request) => request.userAgent)],
  [[...HEADERS, 'referer'], headerPart('referer', (request) => request.referer)],
  [[...HEADERS, 'x-forwarded-for'], headerPart('x-forwarded-for', (request) => request.forwardedFor)],
  [[...HEADERS, 'x-request-id'], headerPart('x-request-id', (request) => request.requestId)],
  [['parsed_path'], parsedPath],
  [['parsed_query'], parsedQuery],
];

/**
 * A header that Envoy was told to log, or always does. Of one that is missing nobody can tell whether it was not sent or not
 * logged.
 */
export function headerPart(name: string, always?: (request: NonNullable<LoggedEntry['request']>) => string): ReadPart {
  return ({ request, entry }) => {
    const kept = request.kept(name);
    if (kept !== undefined) return kept;
    const logged = always === undefined || entry.request === null ? undefined : always(entry.request);
    const value = request.headers.get(name) ?? logged;
    return value === undefined ? UNKNOWN : new Uncertain(value === '' ? undefined : value);
  };
}

/** Where Envoy has two, nobody knows which of them the gate would have been shown. */
function sourceAddress({ entry: { commonProperties: common } }: Logged): unknown {
  const { downstreamRemoteAddress: remote, downstreamDirectRemoteAddress: direct } = common ?? {};
  const [one, other] = [remote?.socketAddress, direct?.socketAddress];
  return one?.address === other?.address && one?.portValue === other?.portValue ? socketInput(remote) : UNKNOWN;
}

type Address = LoggedCommon['downstreamLocalAddress'];

function socketInput(address: Address | undefined): JsonRecord | typeof UNKNOWN {
  const { address: text = '', portValue } = address?.socketAddress ?? {};
  return typeof portValue === 'number' ? { socketAddress: { address: text, portValue } } : UNKNOWN;
}

type Certificate = NonNullable<NonNullable<LoggedCommon['tlsProperties']>['peerCertificateProperties']>;

/** As ext_authz tells it: the first URI SAN, else the first DNS SAN, else the subject. */
function principalOf(certificate: Certificate | null | undefined): string | undefined {
  if (certificate === null || certificate === undefined) return undefined;
  const { subjectAltName: names, subject } = certificate;
  const uri = names.find(({ san }) => san === 'uri')?.uri;
  const dns = names.find(({ san }) => san === 'dns')?.dns;
  return uri ?? dns ?? (subject === '' ? undefined : subject);
}

/** What is encoded is left out: how the gate decodes it is the gate's to know. */
function parsedPath({ request }: Logged): unknown {
  if (request.path === undefined) return UNKNOWN;
  const [plain = ''] = request.path.split('?', 1);
  return plain.includes('%') ? UNKNOWN : plain.replace(/^\/+/, '').split('/');
}

function parsedQuery({ request }: Logged): unknown {
  if (request.path === undefined) return UNKNOWN;
  const mark = request.path.indexOf('?');
  const query = mark === -1 ? '' : request.path.slice(mark + 1);
  if (/[%+;]/.test(query)) return UNKNOWN;
  // Without a prototype: names are what a client likes.
  const values = Object.create(null) as Record<string, string[]>;
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const [name = '', ...rest] = pair.split('=');
    (values[name] ??= []).push(rest.join('='));
  }
  return values;
}
