/** One decision path behind all doors: what is asked over gRPC and over HTTP is decided alike, with the same effects. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { structToJson, type CheckResponse } from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { askHttp, type HttpAnswer } from '../support/http-asker.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';

/** Decides by everything that both doors know, and gives back what it saw. */
const POLICY = `package envoy.authz

http := input.attributes.request.http

seen := {
	"method": http.method,
	"path": http.path,
	"host": http.host,
	"parsed_path": input.parsed_path,
	"parsed_query": input.parsed_query,
	"parsed_body": object.get(input, "parsed_body", "none"),
	"truncated": object.get(input, "truncated_body", "none"),
	"headers": object.remove(http.headers, ["content-length"]),
	"body": object.get(http, "body", ""),
	"raw": object.get(http, "rawBody", ""),
	"size": object.get(http, "size", 0),
	"jwt": input.svidgate.jwt,
	"xfcc": input.svidgate.xfcc,
	"peer": input.svidgate.peer,
	"policy": input.svidgate.policy,
}

answer := json.unmarshal(http.headers["x-answer"])

default allow := {"allowed": false, "http_status": 404}

allow := object.union(answer, {"headers": {"x-seen": json.marshal(seen)}}) if is_object(answer)

allow := answer if not is_object(answer)
`;

let server: TestServer;
let grpc: RawClient;
before(async () => {
  server = await startTestServer({
    entries: entriesFor('/edge'),
    config: `authz:
  listen: unix:./gate.sock
  path_guard: reject
  policies: { default: { path: ./authz.rego } }
  jwt_svid: { audiences: [api] }
  http: { listen: unix:./http.sock, request: envoy }
`,
    files: { 'authz.rego': POLICY },
  });
  grpc = connect(server.gate);
});
after(async () => {
  grpc[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** What Envoy would send. */
function overGrpc({ method, path, host, headers, body }: Asked): Promise<CheckResponse> {
  const all = { ...headers, ':method': method, ':path': path, ':authority': host };
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(body);
  const isText = Buffer.from(text).equals(body);
  const bytes = isText ? { body: text } : { rawBody: body };
  return grpc.check({
    attributes: { request: { http: { method, path, host, headers: all, size: body.length, ...bytes } } },
  });
}

function overHttp({ method, path, host, headers, body }: Asked): Promise<HttpAnswer> {
  const given = Object.entries(headers).flatMap(([name, value]) => [name, Buffer.from(value).toString('latin1')]);
  const length = ['content-length', String(body.length)];
  return askHttp(server.running.addresses.http ?? '', {
    method,
    path,
    headers: ['host', host, ...given, ...length],
    body,
  });
}

interface Decided {
  readonly isAllowed: boolean;
  readonly status?: number | undefined;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly removed: readonly string[];
  readonly hasBody: boolean;
}

/** Its own header apart, in which numbers and order are as the policy's. */
const OWN = /^(?:x-svidgate-|x-envoy-auth-headers-to-remove$|content-length$|connection$|keep-alive$)/;

function ofGrpc({ status, okResponse, deniedResponse }: CheckResponse): Decided {
  const isAllowed = status?.code === 0;
  const fields = (isAllowed ? okResponse?.headers : deniedResponse?.headers) ?? [];
  const down = okResponse?.responseHeadersToAdd ?? [];
  const byName = Map.groupBy([...fields, ...down], ({ header }) => header?.key ?? '');
  return {
    isAllowed,
    status: isAllowed ? 200 : deniedResponse?.status?.code,
    headers: sorted([...byName].map(([name, all]) => [name, all.map(({ header }) => header?.value).join(',')])),
    removed: okResponse?.headersToRemove ?? [],
    hasBody: (deniedResponse?.body ?? '') !== '',
  };
}

function ofHttp({ status, headers, body }: HttpAnswer): Decided {
  const fields = Object.entries(headers).flatMap(([name, value]) =>
    OWN.test(name) ? [] : [[name, Buffer.from(String(value), 'latin1').toString()] as const],
  );
  const removed = headers['x-envoy-auth-headers-to-remove'];
  return {
    isAllowed: status === 200,
    status,
    headers: sorted(fields),
    removed: removed === undefined ? [] : String(removed).split(','),
    hasBody: body !== '',
  };
}

function sorted(headers: readonly (readonly [name: string, value: string])[]): Decided['headers'] {
  return headers.toSorted(([one], [other]) => (one < other ? -1 : 1));
}

const word = fc.string({ unit: fc.constantFrom(...Array.from('abcXYZ019-_~')), minLength: 1, maxLength: 8 });
const segment = fc.oneof({ weight: 20, arbitrary: word }, fc.constantFrom('..', '%2f', '%41', '%zz', '', ';', '\\'));
const path = fc
  .tuple(
    fc.array(segment, { maxLength: 4 }),
    fc.option(fc.string({ unit: fc.constantFrom(...Array.from('ab=&&20++%;')), maxLength: 8 })),
  )
  .map(([segments, query]) => `/${segments.join('/')}${query === null ? '' : `?${query}`}`);
const value = fc.oneof(word, fc.constantFrom('Bearer abc', 'ü', 'By=x;URI=y', ''));
const name = fc.oneof(
  word.map((text) => `x-${text.toLowerCase()}`),
  fc.constantFrom('authorization', 'x-forwarded-client-cert', 'cookie', '__proto__', 'x-envoy-auth-partial-body'),
);
const effects = fc.record(
  {
    allowed: fc.constantFrom(true, true, true, true, false, 1),
    response_headers_to_add: fc.dictionary(
      word.map((text) => `down-${text.toLowerCase()}`),
      word,
      { maxKeys: 2 },
    ),
    request_headers_to_remove: fc.array(
      word.map((text) => `gone-${text.toLowerCase()}`),
      { maxLength: 2 },
    ),
    http_status: fc.constantFrom(401, 403, 404, 418, 302),
    body: word,
    dynamic_metadata: fc.dictionary(word, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 }),
  },
  { requiredKeys: ['allowed'] },
);
const content = fc.oneof(
  fc.constant(['', Buffer.alloc(0)] as const),
  fc.jsonValue({ maxDepth: 2 }).map((json) => ['application/json', Buffer.from(JSON.stringify(json))] as const),
  fc.constantFrom(
    ['application/json', Buffer.from('{"a":')] as const,
    ['application/x-www-form-urlencoded', Buffer.from('a=1&b=%41')] as const,
    ['application/x-www-form-urlencoded', Buffer.from('a=%zz')] as const,
    ['text/plain', Buffer.from('plain')] as const,
    ['application/octet-stream', Buffer.from([0xff, 0, 1])] as const,
  ),
);
const request = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'DELETE', 'OPTIONS', 'PATCH'),
    path,
    host: fc.constantFrom('orders.test', 'orders.test:8443'),
    headers: fc.dictionary(name, value, { maxKeys: 4, noNullPrototype: false }),
    content,
    answer: fc.oneof({ weight: 6, arbitrary: effects }, fc.constantFrom(true, false, null, [], 'allow')),
  })
  .map(({ content: [type, body], answer, headers, ...others }): Asked => {
    const json = JSON.stringify(answer).replaceAll(/[^\u0020-\u007e]/g, '?');
    const typed: Record<string, string> = type === '' ? {} : { 'content-type': type };
    return { ...others, body, headers: { ...headers, ...typed, 'x-answer': json } };
  });

test('a request over gRPC and over HTTP', { timeout: 120_000 }, async () => {
  const counts = { allowed: 0, denied: 0 };
  await fc.assert(
    fc.asyncProperty(request, async (asked) => {
      const [one, other] = await Promise.all([overGrpc(asked), overHttp(asked)]);
      const expected = ofGrpc(one);
      const { reason } = structToJson(one.dynamicMetadata!) as { readonly reason?: string };
      assert.deepEqual(ofHttp(other), expected, reason);
      if (expected.isAllowed) counts.allowed += 1;
      else counts.denied += 1;
    }),
    { numRuns: 600 },
  );
  assert.ok(counts.allowed > 100 && counts.denied > 100, JSON.stringify(counts));
});
