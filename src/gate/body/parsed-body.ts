import { SvidgateError } from '../../core/index.ts';
import type { HttpRequest } from '../../proto/index.ts';
import { parseQuery } from '../go-url.ts';
import { goText } from './go-text.ts';
import { checkedJson } from './json-text.ts';
import { parseMediaType } from './media-type.ts';
import { multipartJson } from './multipart.ts';

/** `parsed_body` as JSON text, and `truncated_body`. */
export interface ParsedBody {
  readonly json: string;
  readonly isTruncated: boolean;
}

/** What is read of a request; `rawBody` in place of `body` where Envoy packs it as bytes. */
export type RequestBody = Pick<HttpRequest, 'headers' | 'body' | 'rawBody'>;

/** Reads the first message of a gRPC body. `target` is the path in its segments. */
export type GrpcBodyReader = (body: Buffer, target: readonly string[]) => ParsedBody;

export const NO_BODY: ParsedBody = { json: 'null', isTruncated: false };
export const TRUNCATED_BODY: ParsedBody = { json: 'null', isTruncated: true };

const MIN_INT64 = -(2n ** 63n);
const MAX_INT64 = 2n ** 63n - 1n;

/**
 * The body of a request as opa-envoy-plugin shows it to policies: by its content type, which is looked for as a part of
 * the header's text, in lower case only. A body that is cut off, of another type or empty is null. Throws
 * `invalid_request` when it is not what its type says.
 */
export function parsedBody(http: RequestBody, target: readonly string[], readGrpc?: GrpcBodyReader): ParsedBody {
  const { headers } = http;
  if (header(headers, 'x-envoy-auth-partial-body') === 'true') return TRUNCATED_BODY;
  const type = header(headers, 'content-type');
  if (type === undefined) return NO_BODY;
  if (type.includes('application/json')) return wholeBody(http, (body) => checkedJson(body.text()));
  if (type.includes('application/grpc')) {
    if (readGrpc === undefined || http.rawBody.length === 0) return NO_BODY;
    return readGrpc(bufferOf(http.rawBody), target);
  }
  if (type.includes('application/x-www-form-urlencoded')) {
    return wholeBody(http, (body) => JSON.stringify(Object.fromEntries(parseQuery(body.text()))));
  }
  if (type.includes('multipart/form-data')) return wholeBody(http, (body) => multipart(body, type));
  return NO_BODY;
}

interface Body {
  readonly bytes: () => Buffer;
  readonly text: () => string;
}

function wholeBody(http: RequestBody, read: (body: Body) => string): ParsedBody {
  const { body, rawBody } = http;
  const size = body === '' ? rawBody.length : Buffer.byteLength(body);
  if (size === 0) return NO_BODY;
  const length = header(http.headers, 'content-length');
  if (length !== undefined && parseLength(length) > BigInt(size)) return TRUNCATED_BODY;
  const json = read({
    bytes: () => (body === '' ? bufferOf(rawBody) : Buffer.from(body, 'utf8')),
    text: () => (body === '' ? goText(rawBody) : body),
  });
  return { json, isTruncated: false };
}

function multipart(body: Body, type: string): string {
  const boundary = parseMediaType(type).parameters.get('boundary');
  return boundary === undefined ? NO_BODY.json : multipartJson(body.bytes(), boundary);
}

/** Go's strconv.ParseInt in base 10, with 64 bits. */
function parseLength(text: string): bigint {
  // The first test bounds the work: no 64-bit number has more digits but zeros before them.
  const value = /^[+-]?[0-9]{1,100}$/.test(text) ? BigInt(text.replace('+', '')) : undefined;
  if (value === undefined || value < MIN_INT64 || value > MAX_INT64) {
    throw new SvidgateError('invalid_request', 'the content length is not a number');
  }
  return value;
}

/** Names come from the request: `constructor` is none that it has. */
function header(headers: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(headers, name) ? headers[name] : undefined;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
