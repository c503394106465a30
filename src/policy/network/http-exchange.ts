import { Buffer } from 'node:buffer';
import { Agent as HttpAgent, request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { getCACertificates } from 'node:tls';
import { MESSAGE_HEADERS } from '../../core/index.ts';
import type { Origin } from './http-send-rules.ts';

/** A request as the builtins' program wants it: see tools/rego-compiler/builtins/send.go. Texts have one character for each byte. */
export interface WantedRequest {
  readonly kind: 'http';
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  /** Empty where it is `host`. */
  readonly hostHeader: string;
  readonly headers: readonly (readonly [string, string])[] | null;
  /** Base64. */
  readonly body: string | null;
  /** 0 where the policy names none. */
  readonly timeoutMs: number;
  readonly retries: number;
  readonly tls: {
    readonly ca: string;
    readonly usesSystemCerts: boolean;
    readonly cert: string;
    readonly key: string;
    readonly serverName: string;
  };
}

export interface HttpAnswer {
  readonly status: string;
  readonly statusCode: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

/** Connections kept open between requests. Agents of their own: no proxy of the environment is used. */
export interface Connections {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
}

export interface ExchangeOptions {
  readonly origin: Origin;
  readonly connections: Connections;
  readonly ca: string | undefined;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** Shorter than most servers keep a connection: one that is just being closed would cost a request. */
const IDLE_MS = 4000;
const MAX_IDLE_CONNECTIONS = 16;
/** What Go's transport says by itself, or what would change where the message ends. */
const OWN_HEADERS: ReadonlySet<string> = new Set(MESSAGE_HEADERS);
const WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
/** May be sent again when a connection was closed before the answer. */
const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
/** What OPA says where the policy sets other headers. */
const OPA_AGENT = /^Open-Policy-Agent\//;

export class TooLarge extends Error {}

export function openConnections(): Connections {
  const options = { keepAlive: true, timeout: IDLE_MS, maxFreeSockets: MAX_IDLE_CONNECTIONS };
  return { http: new HttpAgent(options), https: new HttpsAgent(options) };
}

/** One request and its answer, redirects included. Rejects with what Node says, TooLarge, or when the signal is aborted. */
export async function exchangeHttp(wanted: WantedRequest, options: ExchangeOptions): Promise<HttpAnswer> {
  const { scheme, hostname, port } = options.origin;
  const body = Buffer.from(wanted.body ?? '', 'base64');
  const send = scheme === 'https' ? requestHttps : requestHttp;
  const all: RequestOptions = {
    method: wanted.method,
    host: hostname,
    port,
    path: wanted.path,
    setHost: false,
    headers: headersFor(wanted, options.origin, body.length),
    agent: options.connections[scheme],
    signal: options.signal,
    ...(scheme === 'https' ? tlsOptions(wanted, options) : {}),
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = send(all);
    request.on('error', (error: NodeJS.ErrnoException) => {
      const isStale = request.reusedSocket && error.code === 'ECONNRESET' && REPEATABLE.has(wanted.method);
      if (!isStale) return reject(error);
      send({ ...all, agent: false })
        .on('error', reject)
        .on('response', resolve)
        .end(body);
    });
    request.on('response', resolve).end(body);
  });
  return await readAnswer(response, options.maxBytes);
}

function headersFor(wanted: WantedRequest, origin: Origin, length: number): string[] {
  const given = (wanted.headers ?? []).filter(([name]) => !OWN_HEADERS.has(name.toLowerCase()));
  const named = new Map(given.map(([name, value]) => [name.toLowerCase(), value]));
  const headers = ['Host', wanted.hostHeader === '' ? origin.host : wanted.hostHeader];
  if (OPA_AGENT.test(named.get('user-agent') ?? 'Open-Policy-Agent/')) headers.push('User-Agent', 'svidgate');
  if (!named.has('accept-encoding')) headers.push('Accept-Encoding', 'identity');
  if (length > 0 || WITH_BODY.has(wanted.method)) headers.push('Content-Length', String(length));
  for (const [name, value] of given) {
    if (name.toLowerCase() !== 'user-agent' || !OPA_AGENT.test(value)) headers.push(name, value);
  }
  return headers;
}

function tlsOptions(wanted: WantedRequest, { ca, origin }: ExchangeOptions): object {
  const { tls } = wanted;
  const name = tls.serverName || origin.hostname;
  return {
    // Of an address none is sent; the certificate is checked for the address.
    servername: isIP(name) === 0 ? name : '',
    ...caOf(tls, ca),
    ...(tls.cert === '' || tls.key === '' ? {} : { cert: tls.cert, key: tls.key }),
  };
}

function caOf(tls: WantedRequest['tls'], ca: string | undefined): { readonly ca?: string | readonly string[] } {
  if (tls.ca === '') return ca === undefined ? {} : { ca };
  if (!tls.usesSystemCerts) return { ca: tls.ca };
  return { ca: [tls.ca, ...(ca === undefined ? getCACertificates('default') : [ca])] };
}

/** What Go does not show of an answer. */
function isOfTheConnection(name: string, value: string): boolean {
  return name === 'transfer-encoding' || name === 'trailer' || (name === 'connection' && /\bclose\b/i.test(value));
}

async function readAnswer(response: IncomingMessage, maxBytes: number): Promise<HttpAnswer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response as AsyncIterable<Uint8Array>) {
    length += piece.length;
    if (length > maxBytes) {
      response.destroy();
      throw new TooLarge(`the answer is larger than ${maxBytes} bytes`);
    }
    pieces.push(piece);
  }
  const statusCode = response.statusCode ?? 0;
  const { rawHeaders } = response;
  const pairs = Array.from({ length: rawHeaders.length / 2 }, (_, at): readonly [string, string] => [
    rawHeaders[2 * at] ?? '',
    rawHeaders[2 * at + 1] ?? '',
  ]);
  return {
    status: `${statusCode} ${response.statusMessage ?? ''}`,
    statusCode,
    headers: pairs.filter(([name, value]) => !isOfTheConnection(name.toLowerCase(), value)),
    body: Buffer.concat(pieces).toString('base64'),
  };
}
