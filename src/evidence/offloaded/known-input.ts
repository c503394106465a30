import type { HttpAccessLogEntry } from '../../proto/index.ts';
import type { JsonRecord } from '../records/decision-record.ts';
import type { LoggedRequest } from './logged-request.ts';

type Path = readonly (string | number)[];
type Entry = HttpAccessLogEntry;

/** Of an input document: the parts that are as the gate would have had them. What is not beneath a path of `known` is unknown. */
export interface KnownInput {
  readonly document: JsonRecord;
  readonly known: readonly Path[];
}

/** Who asked for what, beside the entry. */
export interface KnownFacts {
  readonly policy: string;
  readonly callerIds: readonly string[];
}

/** As `HttpRequest.protocol` of ext_authz has it, by HTTPVersion. */
const PROTOCOLS: readonly (string | undefined)[] = [undefined, 'HTTP/1.0', 'HTTP/1.1', 'HTTP/2', 'HTTP/3'];
const VERSION = { ext_authz: 'v3', encoding: 'protojson' };
const HTTP: Path = ['attributes', 'request', 'http'];

/**
 * The input document of a request that was logged, as far as the log has it. A member that is known and not in the document is
 * one that the request did not have.
 */
export function knownInput(entry: Entry, request: LoggedRequest, facts: KnownFacts): KnownInput {
  const book = new InputBook();
  book.set(['version'], VERSION);
  book.set(['svidgate', 'policy'], facts.policy);
  book.set(['svidgate', 'caller', 'kind'], 'attested');
  book.set(['svidgate', 'caller', 'spiffe_ids'], facts.callerIds);
  if (request.spiffeId !== undefined) {
    book.set(['svidgate', 'peer', 'verified'], true);
    book.set(['svidgate', 'peer', 'spiffe_id'], request.spiffeId);
    book.set(['svidgate', 'peer', 'reason'], undefined);
  }
  addConnection(book, entry);
  addRequest(book, entry, request);
  if (request.path !== undefined) addPath(book, request.path);
  return book;
}

function addConnection(book: InputBook, { commonProperties: common }: Entry): void {
  const { downstreamRemoteAddress: remote, downstreamDirectRemoteAddress: direct } = common ?? {};
  const socket = remote?.socketAddress;
  // Where they differ, nobody knows which of them the gate would have been shown.
  if (typeof socket?.portValue === 'number' && JSON.stringify(remote) === JSON.stringify(direct)) {
    book.set(['attributes', 'source', 'address'], socketInput(socket.address, socket.portValue));
  }
  const local = common?.downstreamLocalAddress?.socketAddress;
  if (typeof local?.portValue === 'number') {
    book.set(['attributes', 'destination', 'address'], socketInput(local.address, local.portValue));
  }
  const principal = principalOf(common?.tlsProperties?.peerCertificateProperties);
  book.set(['attributes', 'source', 'principal'], principal);
  book.set(['source_principal'], principal);
  book.set(['attributes', 'destination', 'principal'], principalOf(common?.tlsProperties?.localCertificateProperties));
}

function socketInput(address: string, portValue: number): JsonRecord {
  return { socketAddress: { address, portValue } };
}

type Certificate = NonNullable<
  NonNullable<NonNullable<Entry['commonProperties']>['tlsProperties']>['peerCertificateProperties']
>;

/** As ext_authz tells it. */
function principalOf(certificate: Certificate | null | undefined): string | undefined {
  if (certificate === null || certificate === undefined) return undefined;
  const { subjectAltName: names, subject } = certificate;
  const uri = names.find(({ san }) => san === 'uri');
  const dns = names.find(({ san }) => san === 'dns');
  const text = uri?.san === 'uri' ? uri.uri : dns?.san === 'dns' ? dns.dns : subject;
  return text === '' ? undefined : (text ?? undefined);
}

function addRequest(book: InputBook, entry: Entry, { method, host, headers }: LoggedRequest): void {
  const http = entry.request;
  const protocol = PROTOCOLS[entry.protocolVersion];
  if (protocol !== undefined) book.set([...HTTP, 'protocol'], protocol);
  const scheme = http?.scheme ?? '';
  if (scheme !== '') addBoth(book, 'scheme', scheme);
  if (method !== '') addBoth(book, 'method', method);
  book.set([...HTTP, 'host'], host);
  book.set([...HTTP, 'headers', ':authority'], host);
  const named: readonly (readonly [string, string | undefined])[] = [
    ['user-agent', http?.userAgent],
    ['referer', http?.referer],
    ['x-forwarded-for', http?.forwardedFor],
    ['x-request-id', http?.requestId],
  ];
  for (const [name, value = ''] of named) book.set([...HTTP, 'headers', name], value === '' ? undefined : value);
  // Of others nobody can tell whether they were not sent or not logged.
  for (const [name, value] of headers) {
    if (!name.startsWith(':')) book.set([...HTTP, 'headers', name], value);
  }
}

function addBoth(book: InputBook, name: string, value: string): void {
  book.set([...HTTP, name], value);
  book.set([...HTTP, 'headers', `:${name}`], value);
}

/** What is encoded is left out: how the gate decodes it is the gate's to know. */
function addPath(book: InputBook, path: string): void {
  addBoth(book, 'path', path);
  const mark = path.indexOf('?');
  const plain = mark === -1 ? path : path.slice(0, mark);
  if (!plain.includes('%')) book.set(['parsed_path'], plain.replace(/^\/+/, '').split('/'));
  const query = mark === -1 ? '' : path.slice(mark + 1);
  if (/[%+;]/.test(query)) return;
  const values = Object.create(null) as Record<string, string[]>;
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const [name = '', ...rest] = pair.split('=');
    (values[name] ??= []).push(rest.join('='));
  }
  book.set(['parsed_query'], values);
}

class InputBook implements KnownInput {
  readonly document: Record<string, unknown> = {};
  readonly known: Path[] = [];

  /** Undefined: it is known not to be there. */
  set(path: Path, value: unknown): void {
    this.known.push(path);
    if (value !== undefined) setAt(this.document, path, value);
  }
}

/** Names of headers and parameters are what a client likes: objects have no prototype. */
function setAt(document: Record<string, unknown>, path: Path, value: unknown): void {
  let at = document;
  for (const key of path.slice(0, -1)) {
    at[key] ??= Object.create(null) as Record<string, unknown>;
    at = at[key] as Record<string, unknown>;
  }
  at[path.at(-1) ?? ''] = value;
}
