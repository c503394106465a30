import { isIP } from 'node:net';
import { MESSAGE_HEADERS } from '../../core/index.ts';
import type { AskedHeaders } from './asked-headers.ts';
import type { RequestScheme } from './asked-path.ts';

/** The request that is asked about. */
export interface OriginalRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly host: string;
  /** Empty where nothing says so, as the address. */
  readonly scheme: string;
  readonly clientAddress: string;
  /** Its headers, and those that the proxy adds: names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface RefusedRequest {
  /** Which part of it is not as it must be; nothing of what was sent. */
  readonly refused: string;
}

/** A call, as far as it is known before its scheme is. */
export interface Asked {
  readonly method: string;
  /** Of the path, what comes after what the configuration names. */
  readonly rest: string;
  readonly headers: AskedHeaders;
}

/** How long Envoy waits for the answer, in milliseconds. */
export const EXPECTED_TIMEOUT = 'x-envoy-expected-rq-timeout-ms';

/** They are about the call to us, and not about the request. */
const OF_THE_CALL = new Set([
  ...MESSAGE_HEADERS,
  // Of the time that Envoy waits for us, and of the hop to us, which is always an internal one.
  EXPECTED_TIMEOUT,
  'x-envoy-internal',
]);

/** Only Envoy writes them, or takes away what a client wrote. */
function isOfEnvoy(name: string): boolean {
  return name.startsWith('x-envoy-') || name === 'x-forwarded-client-cert';
}

/** Exactly the headers of the scheme are believed. */
export function readOriginal(asked: Asked, scheme: RequestScheme): OriginalRequest | RefusedRequest {
  const original = READERS[scheme](asked);
  if ('refused' in original) return original;
  if (!isTarget(original.path)) return { refused: 'the path of the request' };
  if (!METHOD.test(original.method)) return { refused: 'the method of the request' };
  if (!HOST.test(original.host)) return { refused: 'the host of the request' };
  return original;
}

const READERS = { envoy, nginx, traefik } as const;

/** http_service: the request itself, without what the proxy does not let pass. */
function envoy({ method, rest, headers }: Asked): OriginalRequest | RefusedRequest {
  const host = headers.single('host');
  if (host === undefined) return missing('host');
  const scheme = headers.single('x-forwarded-proto') ?? '';
  const others = headers.joined((name) => OF_THE_CALL.has(name));
  return { method, path: rest, host, scheme, clientAddress: '', headers: others };
}

/** auth_request: what it asks about stands in two headers that its configuration sets. */
function nginx({ rest, headers }: Asked): OriginalRequest | RefusedRequest {
  if (rest !== '' && rest !== '/') return { refused: 'the path of the call' };
  const host = headers.single('host');
  const path = headers.single('x-original-uri');
  const method = headers.single('x-original-method');
  if (host === undefined) return missing('host');
  if (path === undefined) return missing('x-original-uri');
  if (method === undefined) return missing('x-original-method');
  const others = headers.joined((name) => OF_THE_CALL.has(name) || isOfEnvoy(name) || name.startsWith('x-original-'));
  return { method, path, host, scheme: '', clientAddress: '', headers: others };
}

const FORWARDED = ['method', 'proto', 'host', 'uri', 'for'].map((part) => `x-forwarded-${part}`);

/** forwardAuth: five headers, which Traefik writes itself where `trustForwardHeader` is off. */
function traefik({ rest, headers }: Asked): OriginalRequest | RefusedRequest {
  if (rest !== '' && rest !== '/') return { refused: 'the path of the call' };
  const values = FORWARDED.map((name) => headers.single(name));
  const at = values.indexOf(undefined);
  if (at !== -1) return missing(FORWARDED[at] ?? '');
  const [method = '', scheme = '', host = '', path = '', forwarded = ''] = values.map((value) => value ?? '');
  // The last is Traefik's own; those before it are what a client sent.
  const clientAddress = forwarded.slice(forwarded.lastIndexOf(',') + 1).trim();
  if (isIP(clientAddress) === 0) return { refused: 'the address in x-forwarded-for' };
  const isOwn = (name: string): boolean => name === 'x-forwarded-method' || name === 'x-forwarded-uri';
  const others = headers.joined((name) => OF_THE_CALL.has(name) || isOfEnvoy(name) || isOwn(name));
  return { method, path, host, scheme, clientAddress, headers: others };
}

function missing(name: string): RefusedRequest {
  return { refused: `${name} is missing, empty, or there more than once` };
}

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
const HOST = /^[^\s/\\@?#,]{1,255}$/;

/** Origin form: no other means the same to every service. A fragment never belongs to a request. */
function isTarget(path: string): boolean {
  // oxlint-disable-next-line no-control-regex
  return path.startsWith('/') && !/[\u0000-\u0020\u007f#]/.test(path);
}
