/** What OPA's http.send answers, ours answers, after the same requests: each expression twice, with one cache. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { offeredBuiltins } from '../../src/policy/builtins/offered.ts';
import { Evaluator } from '../../src/policy/evaluator.ts';
import { createPolicyNetwork } from '../../src/policy/network/policy-network.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { buildGoProgram } from '../support/go-program.ts';
import { startHttpStandIn, type HttpStandIn } from '../support/http-stand-in.ts';

/** What the server answers is written in the path. */
interface Wish {
  readonly status?: number;
  readonly message?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  /** Closes the connection instead. */
  readonly breaks?: boolean;
  /** Shows the request. */
  readonly echoes?: boolean;
}

const JSON_TYPE = { 'content-type': 'application/json' };
const path = (wish: Wish): string => `/${Buffer.from(JSON.stringify(wish)).toString('base64url')}`;
/** A call with fields beside the URL of the wish; in Rego. */
const send = (wish: Wish, fields = ''): string =>
  `http.send({"method": "GET", "url": "BASE${path(wish)}"${fields === '' ? '' : `, ${fields}`}})`;
/** Of the answer: what does not hang on the connection. */
const LATER = 'Wed, 21 Oct 2065 07:28:00 GMT';
const EARLIER = 'Wed, 21 Oct 2015 07:28:00 GMT';
const kept = (headers: Record<string, string>, fields = '"cache": true', body = '{"a":1}'): string =>
  send({ headers: { ...JSON_TYPE, ...headers }, body }, fields);

const ANSWERS: readonly string[] = [
  ...[200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 418, 429, 500, 501, 503, 599].map((status) =>
    send({ status }),
  ),
  send({ status: 200, message: 'Fine By Me' }),
  send({ headers: { 'x-one': 'a', 'X-Two': ['b', 'c'], 'set-cookie': ['d=1', 'e=2'], 'x-ü': '' } }),
  send({ headers: { 'x-latin': 'caf\u00c3\u00a9' } }),
  ...['application/json', 'application/json; charset=utf-8', 'application/problem+json', 'Application/JSON'].map(
    (type) => send({ headers: { 'content-type': type }, body: '{"a": [1, 2.50, 12345678901234567890, null, "é"]}' }),
  ),
  ...['text/json', 'application/jsonp', 'text/plain', '', 'application/json;;', 'nonsense'].map((type) =>
    send({ headers: { 'content-type': type }, body: '{"a": 1}' }),
  ),
  ...['', '{', '{"a":1} x', '{"a":1,"a":2}', '"\\ud800"', '7', 'null', '[1]', '\ufeff{}'].map((body) =>
    send({ headers: JSON_TYPE, body }),
  ),
  ...['application/yaml', 'application/x-yaml', 'text/yaml', 'application/yaml; x=y'].map((type) =>
    send({ headers: { 'content-type': type }, body: 'a: [1, yes, 2001-01-01]\nb: {c: 0x10}\n' }),
  ),
  send({ headers: { 'content-type': 'application/yaml' }, body: 'a: b: c' }),
  send({ body: '{"a": 1}' }, '"force_json_decode": true'),
  send({ body: 'a: 1' }, '"force_json_decode": true'),
  send({ body: 'a: 1' }, '"force_yaml_decode": true'),
  send({ body: '{"a": 1}' }, '"force_json_decode": true, "force_yaml_decode": true'),
  send({ body: 'text' }, '"force_json_decode": "yes", "raise_error": false'),
];

const echo = (fields: string): string =>
  `http.send({"url": "BASE${path({ echoes: true, headers: JSON_TYPE })}", ${fields}})`;
const REQUESTS: readonly string[] = [
  ...['GET', 'get', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', ''].map((method) =>
    echo(`"method": "${method}"`),
  ),
  ...['POST', 'GET', 'DELETE'].map((method) =>
    echo(`"method": "${method}", "body": {"b": [1, "é<", 2.50], "a": null}`),
  ),
  echo('"method": "POST", "body": "text"'),
  echo('"method": "POST", "body": {1, 2, "x"}'),
  echo('"method": "POST", "raw_body": "a=b&c=é"'),
  echo('"method": "POST", "raw_body": "", "body": {"a": 1}'),
  echo('"method": "POST", "raw_body": "raw", "body": {"a": 1}'),
  echo('"method": "POST", "headers": {"content-type": "application/json", "X-One": "a b", "x-é": "1"}'),
  echo('"method": "GET", "headers": {"x-one": "ä", "Authorization": "Bearer t", "Accept": "*/*"}'),
  echo('"method": "GET", "headers": {"User-Agent": "mine"}'),
  echo('"method": "POST", "raw_body": "abc", "headers": {"Content-Length": "1", "Transfer-Encoding": "chunked"}'),
  echo('"method": "GET", "headers": {}'),
  ...['/a/../b', '/a//b', '/%2e%2e/x', '/é?q=ü&x=%zz', '/a?b#c', '/a b', '?only', '/a;b?c=d+e', '/%41'].map(
    (target) => `http.send({"method": "GET", "url": "BASE${target}"})`,
  ),
];

const ERRORS: readonly string[] = [
  ...['"x": 1', '"timeout": "soon"', '"timeout": {}', '"max_retry_attempts": -1', '"max_retry_attempts": "1"'].map(
    (fields) => send({}, `${fields}, "raise_error": false`),
  ),
  send({}, '"x": 1'),
  send({}, '"raise_error": "no"'),
  send({}, '"timeout": "1e3"'),
  send({}, '"headers": {"a": 1}, "raise_error": false'),
  send({}, '"headers": ["a"], "raise_error": false'),
  send({}, '"headers": {"a b": "x"}, "raise_error": false'),
  send({}, '"headers": {"a": "x\\ny"}, "raise_error": false'),
  send({}, '"cache": 1, "raise_error": false'),
  send({}, '"force_cache": true, "raise_error": false'),
  send({}, '"caching_mode": "odd", "cache": true, "raise_error": false'),
  send({ breaks: true }, '"raise_error": false'),
  send({ breaks: true }),
  send({ breaks: true }, '"raise_error": false, "max_retry_attempts": 1'),
  'http.send({"method": "GET"})',
  'http.send({"url": "BASE/", "raise_error": false})',
  'http.send({"method": 7, "url": "BASE/", "raise_error": false})',
  'http.send({"method": "A B", "url": "BASE/", "raise_error": false})',
  ...['', 'x', '//host', 'ftp://127.0.0.1/', 'http://', 'http://[::1', 'http://a\\b/', 'http://127.0.0.1:99999/'].map(
    (url) => `http.send({"method": "GET", "url": ${JSON.stringify(url)}, "raise_error": false})`,
  ),
  send({}, '"tls_ca_cert": "x", "raise_error": false'),
  send({}, '"tls_client_cert": "x", "tls_client_key": "y", "raise_error": false'),
  // Port 1 has nobody; the allow-list has it.
  'http.send({"method": "GET", "url": "http://127.0.0.1:1/", "raise_error": false})',
];

const to = (location: string, status = 302): Wish => ({ status, headers: { location } });
const REDIRECTS: readonly string[] = [
  send(to('/there')),
  send(to('/there'), '"enable_redirect": true'),
  send(to(path(to('/end?x=1'))), '"enable_redirect": true'),
  ...[301, 303, 307, 308].map(
    (status) =>
      `http.send({"method": "POST", "raw_body": "b", "url": "BASE${path(to('/there', status))}", "enable_redirect": true})`,
  ),
  send(to('ftp://127.0.0.1/'), '"enable_redirect": true, "raise_error": false'),
  send({ status: 302 }, '"enable_redirect": true, "raise_error": false'),
  send(to('/there'), '"enable_redirect": true, "headers": {"Authorization": "Bearer t"}'),
];

const CACHED: readonly string[] = [
  kept({}),
  kept({ 'cache-control': 'max-age=60', date: LATER }),
  kept({ 'cache-control': 'max-age=60', date: EARLIER }),
  kept({ 'cache-control': 'max-age=60, public', date: EARLIER, etag: '"v1"' }),
  kept({ 'cache-control': 'max-age=60', date: EARLIER, 'last-modified': EARLIER }),
  kept({ 'cache-control': 'no-store, max-age=60', date: LATER }),
  kept({ 'cache-control': 'max-age=x', date: LATER }),
  kept({ 'cache-control': 'max-age=99999999999', date: LATER }),
  kept({ 'cache-control': 'max-age=60' }),
  kept({ expires: LATER }),
  kept({ expires: EARLIER }),
  kept({ expires: 'soon' }),
  kept({ expires: LATER }, '"cache": false'),
  kept({ expires: LATER }, '"cache": true, "caching_mode": "deserialized"', '{"b":2}'),
  kept({}, '"force_cache": true, "force_cache_duration_seconds": 600'),
  kept({}, '"force_cache": true, "force_cache_duration_seconds": 0'),
  kept({ 'cache-control': 'no-store' }, '"force_cache": true, "force_cache_duration_seconds": 600, "cache": false'),
  ...[201, 204, 302, 404, 410, 500].map((status) => send({ status, headers: { expires: LATER } }, '"cache": true')),
  kept({ expires: LATER }, '"cache": true, "headers": {"a": "1", "b": "2"}, "cache_ignored_headers": ["a"]'),
  kept({ expires: LATER }, '"cache": true, "headers": {"a": "3", "b": "2"}, "cache_ignored_headers": ["a", "c"]'),
  kept({ expires: LATER }, '"cache": true, "headers": {"a": "3", "b": "4"}, "cache_ignored_headers": ["a"]'),
  kept({ expires: LATER }, '"cache": true, "headers": {}, "cache_ignored_headers": "a", "raise_error": false'),
  // Within one query.
  `[${send({ body: 'same' })}.raw_body, ${send({ body: 'same' })}.raw_body]`,
  `[${send({ breaks: true }, '"raise_error": false')}.status_code, ${send({ breaks: true }, '"raise_error": false')}.status_code]`,
  `[${kept({ 'cache-control': 'max-age=60', date: EARLIER, etag: '"v2"' })}.body, ${send({ body: 'then' })}.raw_body]`,
];

const FAMILIES = { answers: ANSWERS, requests: REQUESTS, errors: ERRORS, redirects: REDIRECTS, caching: CACHED };
const ALL = Object.values(FAMILIES).flat();

interface Outcome {
  readonly kind: string;
  readonly value?: unknown;
}

interface Asker {
  ask(expression: string): Promise<Outcome>;
}

let server: HttpStandIn;
let opa: Asker & { close(): Promise<void> };
let ours: Asker & { close(): Promise<void> };
let seen: string[] = [];

function answer(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString();
    const told = describeRequest(request, body);
    seen.push(told);
    response.sendDate = false;
    const wish = readWish(request.url ?? '');
    if (wish.breaks === true) return void request.socket.destroy();
    const headers = { connection: 'close', ...wish.headers } as Record<string, string | string[]>;
    const isKnown = wish.headers?.['etag'] !== undefined && request.headers['if-none-match'] === wish.headers['etag'];
    const isUnchanged = isKnown || request.headers['if-modified-since'] !== undefined;
    const status = isUnchanged ? 304 : (wish.status ?? 200);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name.replace('ü', 'u'), value);
    response.statusCode = status;
    if (wish.message !== undefined) response.statusMessage = wish.message;
    response.end(isUnchanged ? undefined : wish.echoes === true ? JSON.stringify(told) : (wish.body ?? ''));
  });
}

function readWish(url: string): Wish {
  try {
    return JSON.parse(Buffer.from(url.slice(1), 'base64url').toString()) as Wish;
  } catch {
    return { body: 'plain' };
  }
}

/** All but what names the program that asks, and how it holds connections. */
function describeRequest(request: IncomingMessage, body: string): string {
  const { 'accept-encoding': _encoding, connection: _connection, 'user-agent': agent, ...headers } = request.headers;
  const isOwn = agent !== undefined && !/^(?:svidgate|Go-http-client|Open-Policy-Agent)/.test(agent);
  const shown = Object.entries(headers).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([request.method, request.url, shown, isOwn ? agent : '', body]);
}

async function startOpa(base: string): Promise<typeof opa> {
  const program = await buildGoProgram(fileURLToPath(new URL('./http-send', import.meta.url)));
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(expression) {
      child.stdin.write(`${JSON.stringify({ expression: `[${expression.replaceAll('BASE', base)}]` })}\n`);
      const { value, done } = await lines.next();
      assert.ok(done !== true, 'the Go program ended');
      return JSON.parse(value) as Outcome;
    },
    async close() {
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
    },
  };
}

async function startOurs(base: string): Promise<typeof ours> {
  const compiler = createRegoCompiler({ clock: systemClock, builtins: offeredBuiltins(true), timeLimitMs: 120_000 });
  const rules = ALL.map((each, at) => `allow := [${each.replaceAll('BASE', base)}] if input == ${at}`);
  const files = { modules: { 'test.rego': ['package test', ...rules].join('\n') }, data: {} };
  const { signal } = new AbortController();
  const built = await compiler.build(files, 'test/allow', signal);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  const module = await WebAssembly.compile(built.wasm);
  const limits = { timeoutMs: 5000, maxResponseBytes: 2 ** 20, maxInFlight: 10, cacheBytes: 2 ** 20 };
  const allow = [server.port, 1].map(
    (port) => ({ scheme: 'http', hostname: '127.0.0.1', isSuffix: false, port }) as const,
  );
  const network = createPolicyNetwork({ allow, ...limits }, { clock: systemClock });
  const loaded = { module, entrypoint: 'test/allow', data: new TextEncoder().encode(built.data) };
  const options = { clock: systemClock, logger: silentLogger, queueLimit: 10, network };
  const evaluator = await Evaluator.start(loaded, options, signal);
  return {
    async ask(expression) {
      const input = new TextEncoder().encode(String(ALL.indexOf(expression)));
      return await evaluator.evaluate(input, { deadline: Date.now() + 20_000 });
    },
    async close() {
      await evaluator.close();
      network.close();
    },
  };
}

/** The words of errors are each side's own. */
function comparable({ kind, value }: Outcome): unknown {
  return {
    kind,
    value: JSON.parse(JSON.stringify(value ?? null), (key, each: unknown) => (key === 'message' ? '' : each)),
  };
}

async function askBoth(expression: string): Promise<readonly unknown[]> {
  const outcomes: unknown[] = [];
  for (const asker of [opa, ours]) {
    seen = [];
    outcomes.push({ ...(comparable(await asker.ask(expression)) as object), requests: seen });
  }
  return outcomes;
}

before(async () => {
  server = await startHttpStandIn({ answer });
  const base = `http://127.0.0.1:${server.port}`;
  [opa, ours] = await Promise.all([startOpa(base), startOurs(base)]);
});
after(async () => {
  await Promise.all([opa.close(), ours.close()]);
  await server[Symbol.asyncDispose]();
});

describe('OPA and a compiled policy agree on http.send', () => {
  for (const [name, expressions] of Object.entries(FAMILIES)) {
    test(`${expressions.length} expressions on ${name}`, async () => {
      const differences: unknown[] = [];
      for (const expression of expressions) {
        for (const round of [1, 2]) {
          const [wanted, given] = await askBoth(expression);
          if (!isDeepStrictEqual(wanted, given)) differences.push({ expression, round, wanted, given });
        }
      }
      assert.deepEqual(differences, []);
    });
  }
});
