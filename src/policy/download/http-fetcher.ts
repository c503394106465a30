import { gunzip } from 'node:zlib';
import { promisify } from 'node:util';
import type { BundleAnswer, BundleFetcher, BundleRequest } from './bundle-fetcher.ts';
import { failure, withinTime, type SourceAnswer } from './source-exchange.ts';
import { askSource, bearerOf, type SourceAccess } from './source-http.ts';

/** What a server says of itself that can wait for news (OPA, "HTTP Long Polling"). */
const WAITING_TYPE = 'application/vnd.openpolicyagent.bundles';
const MAX_ETAG_LENGTH = 1024;

const unpack = promisify(gunzip);

/**
 * Bundles from an HTTP server, by OPA's bundle service API: If-None-Match, `Prefer: modes=snapshot,delta;wait=N`. What is no
 * gzip is no bundle but a page of some proxy, and counts as no answer.
 */
export function httpFetcher(url: URL, access: SourceAccess): BundleFetcher {
  const ask = async (request: BundleRequest): Promise<BundleAnswer> => {
    const { etag, signal } = request;
    const authorization = await bearerOf(access.tokenFile);
    const answer = await askSource(access, {
      url,
      headers: headersOf(request),
      ...(authorization === undefined ? {} : { authorization }),
      signal,
    });
    if (answer.status === 200) return await bundleOf(answer, access.maxBytes);
    if (answer.status !== 304) throw failure(`${url.host} answers with status ${answer.status}`);
    if (etag === undefined) throw failure(`${url.host} answers with status 304, and nothing was there before`);
    // It does not speak of what we have: what that is, only the whole can tell.
    if (!isSameTag(answer.headers.etag ?? etag, etag)) return await ask({ takesDelta: false, waitMs: 0, signal });
    return { kind: 'unchanged' };
  };
  return {
    kind: 'http',
    description: `${url.origin}${url.pathname}`,
    place: url.href,
    fetch: (request) =>
      withinTime(
        { host: url.host, timeoutMs: access.timeoutMs + request.waitMs, clock: access.clock, signal: request.signal },
        (signal) => ask({ ...request, signal }),
      ),
  };
}

function headersOf({ etag, takesDelta, waitMs }: BundleRequest): Record<string, string> {
  const modes = takesDelta ? 'modes=snapshot,delta' : 'modes=snapshot';
  const wait = waitMs > 0 ? `;wait=${Math.ceil(waitMs / 1000)}` : '';
  return {
    accept: '*/*',
    'accept-encoding': 'identity',
    prefer: `${modes}${wait}`,
    ...(etag === undefined ? {} : { 'if-none-match': etag }),
  };
}

async function bundleOf({ headers, body }: SourceAnswer, maxBytes: number): Promise<BundleAnswer> {
  const type = headers['content-type'] ?? '';
  const bytes = await decode(body, headers['content-encoding'] ?? 'identity', maxBytes);
  if (!isGzip(bytes)) throw failure(`it answers with something that is no bundle (content-type ${shorten(type)})`);
  const { etag } = headers;
  const isUsable = etag !== undefined && etag.length <= MAX_ETAG_LENGTH && /^[\x20-\x7e]+$/.test(etag);
  return {
    kind: 'bundle',
    bytes,
    ...(isUsable ? { etag } : {}),
    canWait: type === WAITING_TYPE,
  };
}

/** Servers that guess by the name of the file call the bundle's own compression an encoding: then it stays as it is. */
async function decode(body: Uint8Array, encoding: string, maxBytes: number): Promise<Uint8Array> {
  const name = encoding.trim().toLowerCase();
  if (name === 'identity' || name === '') return body;
  if (name !== 'gzip' && name !== 'x-gzip') throw failure(`it answers in encoding ${shorten(name)}, not in gzip`);
  let inner: Uint8Array;
  try {
    inner = await unpack(body, { maxOutputLength: maxBytes });
  } catch {
    // Cut, damaged or too large: the reader of bundles says which, if it is one.
    return body;
  }
  return isGzip(inner) ? inner : body;
}

/** RFC 1952 §2.3.1. */
function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** By weak comparison (RFC 9110 §8.8.3.2). */
function isSameTag(one: string, other: string): boolean {
  return one.replace(/^W\//, '') === other.replace(/^W\//, '');
}

function shorten(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
