/** Input, decisions and replies of opa-envoy-plugin's contract through a whole server. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  decodeMessage,
  encodeMessage,
  HEALTH_SERVICE,
  HealthCheckRequest,
  HealthCheckResponse,
  structToJson,
  type CheckRequestInit,
  type CheckResponse,
} from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { cli } from '../support/run-cli.ts';
import { sampleDescriptorSet } from '../support/sample-descriptors.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { connectWorkload } from '../support/workload-client.ts';

const MAX = 1024 * 1024;

/** The input comes back as dynamic metadata of a deny, and what a request asks for in a header as the decision. */
const POLICY = `package contract

default allowed := false

http_status := 401

dynamic_metadata := {"input": input, "number": json.marshal(object.get(input, "parsed_body", null))}

helper contains 1
`;

const ANSWERS = `package answers

decision := json.unmarshal(input.attributes.request.http.headers["x-answer"])
`;

function start(more = '', files: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  return startTestServer({
    entries: entriesFor('/caller'),
    config: `authz:
  listen: unix:./authz.sock
${more}  policies:
    default: { path: ./contract.rego, entrypoint: /contract/ }
    answers: { path: ./answers.rego, entrypoint: answers/decision }
`,
    files: { 'contract.rego': POLICY, 'answers.rego': ANSWERS, ...files },
  });
}

type Http = NonNullable<NonNullable<NonNullable<CheckRequestInit['attributes']>['request']>['http']>;

function request(http: Http, policy = 'default'): CheckRequestInit {
  return { attributes: { request: { http }, contextExtensions: { 'svidgate.policy': policy } } };
}

async function inputOf(client: RawClient, http: Http): Promise<Record<string, unknown>> {
  const response = await client.check(request(http));
  assert.equal(response.deniedResponse?.status?.code, 401, JSON.stringify(response));
  return structToJson(response.dynamicMetadata!)['input'] as never;
}

const answer = (client: RawClient, value: unknown): Promise<CheckResponse> =>
  client.check(request({ headers: { 'x-answer': JSON.stringify(value) } }, 'answers'));

async function refusal(client: RawClient, http: Http): Promise<unknown> {
  const { status, deniedResponse, dynamicMetadata } = await client.check(request(http));
  assert.equal(status?.code, 7);
  return [deniedResponse?.status?.code, structToJson(dynamicMetadata!)['reason']];
}

describe('the input', () => {
  test('has the body in its type, null where there is none, and exact numbers', async () => {
    await using server = await start();
    using client = connect(server.gate);
    const json = { 'content-type': 'application/json' };
    const body = '{"n": 12345678901234567890, "\\u0061": 1.50, "lone": "\\ud800", "a": [2]}';
    const response = await client.check(request({ method: 'POST', path: '/a?b=1', headers: json, body }));
    const metadata = structToJson(response.dynamicMetadata!);
    assert.equal(metadata['number'], '{"a":[2],"lone":"\ufffd","n":12345678901234567890}');
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    assert.deepEqual((await inputOf(client, { headers: form, body: 'a=1&a=2' }))['parsed_body'], { a: ['1', '2'] });
    const multipart = { 'content-type': 'multipart/form-data; boundary=x' };
    const parts = Buffer.from('--x\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n');
    assert.deepEqual((await inputOf(client, { headers: multipart, rawBody: parts }))['parsed_body'], { a: ['1'] });

    const none = await inputOf(client, { headers: { 'content-type': 'text/plain' }, body: 'x' });
    assert.deepEqual([none['parsed_body'], none['truncated_body']], [null, false]);
    const partial = await inputOf(client, { headers: { ...json, 'x-envoy-auth-partial-body': 'true' }, body: '{' });
    assert.deepEqual([partial['parsed_body'], partial['truncated_body']], [null, true]);
    const cut = await inputOf(client, { headers: { ...json, 'content-length': '10' }, body: '{' });
    assert.deepEqual([cut['parsed_body'], cut['truncated_body']], [null, true]);
    const empty = structToJson((await client.check({})).dynamicMetadata!)['input'] as Record<string, unknown>;
    assert.deepEqual(empty['parsed_path'], ['']);
    assert.equal(empty['parsed_body'], null);
    for (const bad of ['{', '{}x', ' ']) {
      assert.deepEqual(await refusal(client, { headers: json, body: bad }), [400, 'request_parse_error']);
    }
  });

  test('has no body with skip_request_body_parse', async () => {
    await using server = await start('  skip_request_body_parse: true\n');
    using client = connect(server.gate);
    const input = await inputOf(client, { headers: { 'content-type': 'application/json' }, body: '{' });
    assert.deepEqual(Object.keys(input).sort(), ['attributes', 'parsed_path', 'parsed_query', 'svidgate', 'version']);
  });

  test('has gRPC messages by the descriptors that are given, and a file that is none stops the start', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'shop.pb');
    await writeFile(file, sampleDescriptorSet());
    await using server = await start(`  proto_descriptor: ${file}\n`);
    using client = connect(server.gate);
    const headers = { 'content-type': 'application/grpc+proto' };
    const rawBody = Buffer.from([0, 0, 0, 0, 2, 40, 7]);
    const input = await inputOf(client, { headers, rawBody, path: '/shop.Orders/Place' });
    assert.deepEqual(input['parsed_body'], { anInt32: 7 });
    assert.deepEqual(await refusal(client, { headers, rawBody, path: '/x' }), [400, 'request_parse_error']);
    await writeFile(file, 'none');
    await assert.rejects(start(`  proto_descriptor: ${file}\n`), { code: 'config_invalid' });
    await assert.rejects(start(`  proto_descriptor: ${file}.missing\n`), { code: 'config_invalid' });
    const check = (): ReturnType<typeof cli> => cli('config', 'check', join(server.folder, 'svidgate.yaml'));
    assert.match((await check()).out, /svidgate\.yaml:\d+:\d+: `authz\.proto_descriptor` cannot be read/);
    await writeFile(file, sampleDescriptorSet());
    assert.equal((await check()).code, 0);
  });

  test('has the path as path_guard says', async () => {
    {
      await using server = await start('  path_guard: reject\n');
      using client = connect(server.gate);
      assert.deepEqual(await refusal(client, { path: '/public/..%2fprivate' }), [400, 'path_refused']);
      assert.deepEqual((await inputOf(client, { path: '/public/a?x=/../y' }))['parsed_path'], ['public', 'a']);
    }
    await using server = await start('  path_guard: normalize\n');
    using client = connect(server.gate);
    const path = '/public/..%2fprivate?x=1';
    const input = await inputOf(client, { path, headers: { ':path': path } });
    assert.deepEqual(input['parsed_path'], ['private']);
    const { http } = (input['attributes'] as { readonly request: { readonly http: Http } }).request;
    assert.equal(http.path, '/private?x=1');
    assert.equal(http.headers?.[':path'], '/private?x=1');
    assert.equal((input['svidgate'] as { readonly raw_path: string }).raw_path, path);
  });
});

describe('the decision', () => {
  test('is the value of a rule or of a package, with all that it asks for', async () => {
    await using server = await start();
    using client = connect(server.gate);
    const allowed = await answer(client, { allowed: true, headers: { 'X-A': ['1', '2'] }, dynamic_metadata: { a: 1 } });
    assert.equal(allowed.status?.code, 0);
    assert.deepEqual(
      allowed.okResponse?.headers.map(({ header, append }) => [header?.key, header?.value, append?.value]),
      [
        ['x-a', '1', false],
        ['x-a', '2', true],
      ],
    );
    const metadata = structToJson(allowed.dynamicMetadata!);
    assert.equal(metadata['a'], 1);
    assert.match(metadata['decision_id'] as string, /^[0-9a-f-]{36}$/);
    const denied = await answer(client, {
      allowed: false,
      http_status: 429,
      body: 'slow',
      headers: { 'retry-after': '1' },
    });
    assert.equal(denied.status?.code, 7);
    assert.equal(denied.deniedResponse?.status?.code, 429);
    assert.equal(denied.deniedResponse.body, 'slow');
    const plain = await client.check(
      request({ headers: { 'x-answer': 'false', accept: 'application/json' } }, 'answers'),
    );
    const { decision_id: id } = structToJson(plain.dynamicMetadata!);
    assert.deepEqual(JSON.parse(plain.deniedResponse!.body), { error: 'Forbidden', status: 403, decision_id: id });
  });

  const bad: readonly (readonly [value: unknown, reason: string])[] = [
    ['true', 'wrong_type'],
    [{ allow: true }, 'wrong_type'],
    [{ allowed: 'true' }, 'wrong_type'],
    [{ allowed: true, headers: 1 }, 'wrong_type'],
    [{ allowed: false, http_status: 418 }, 'wrong_type'],
    [{ allowed: true, headers: { host: 'evil.test' } }, 'reply_refused'],
    [{ allowed: true, headers: { ':path': '/admin' } }, 'reply_refused'],
    [{ allowed: true, response_headers_to_add: { 'x-a': 'b\r\nset-cookie: c' } }, 'reply_refused'],
    [{ allowed: false, http_status: 200 }, 'reply_refused'],
  ];

  test('is a deny for whatever Envoy must not be told, also where failures are gRPC errors', async () => {
    await using server = await start('  on_error: grpc\n');
    using client = connect(server.gate);
    for (const [value, reason] of bad) {
      if (reason === 'wrong_type') {
        await assert.rejects(answer(client, value), JSON.stringify(value));
      } else {
        const response = await answer(client, value);
        assert.equal(response.status?.code, 7);
        assert.equal(structToJson(response.dynamicMetadata!)['reason'], reason, JSON.stringify(value));
      }
    }
  });

  test('may be what is opted in', async () => {
    await using server = await start("  reply: { allow_headers: [':path'], allow_success_on_deny: true }\n");
    using client = connect(server.gate);
    assert.equal((await answer(client, { allowed: true, headers: { ':path': '/b' } })).status?.code, 0);
    assert.equal((await answer(client, { allowed: true, headers: { host: 'b' } })).status?.code, 7);
    const success = await answer(client, { allowed: false, http_status: 200 });
    assert.deepEqual([success.status?.code, success.deniedResponse?.status?.code], [7, 200]);
  });

  test('lets through what a policy denies in a dry run, and nothing else', async () => {
    await using server = await start('  dry_run: true\n');
    using client = connect(server.gate);
    const through = await answer(client, {
      allowed: false,
      http_status: 401,
      headers: { a: 'b' },
      dynamic_metadata: { m: 1 },
    });
    assert.equal(through.status?.code, 0);
    assert.deepEqual(through.okResponse?.headers, []);
    const { decision_id: id, ...metadata } = structToJson(through.dynamicMetadata!);
    assert.deepEqual(metadata, { policy: 'answers', reason: 'policy_denied', dry_run: true, m: 1 });
    assert.equal(typeof id, 'string');
    for (const [value, reason] of bad) {
      const response = await answer(client, value);
      assert.equal(response.status?.code, 7);
      assert.equal(structToJson(response.dynamicMetadata!)['reason'], reason);
    }
    assert.deepEqual(await refusal(client, { path: '/%zz' }), [400, 'request_parse_error']);
    assert.ok(server.lines.some(({ message }) => message.startsWith('dry run:')));
  });
});

test('the gate tells of its health: serving once every policy is active', async () => {
  await using server = await start('', { 'answers.rego': 'package answers\n\ndecision if {' });
  using client = connect(server.gate);
  const ask = (service: string): Uint8Array => encodeMessage(HealthCheckRequest, { service });
  const { path } = HEALTH_SERVICE.check;
  const status = async (service: string): Promise<number> =>
    decodeMessage(HealthCheckResponse, await client.unary(path, ask(service)), MAX).status;
  const { SERVING, NOT_SERVING } = HealthCheckResponse.ServingStatus;
  assert.equal(await status(''), NOT_SERVING);
  using streams = connectWorkload(server.gate, []);
  const watch = streams.stream(HEALTH_SERVICE.watch.path, ask('envoy.service.auth.v3.Authorization'));
  const next = async (): Promise<number> => decodeMessage(HealthCheckResponse, await watch.next(), MAX).status;
  assert.equal(await next(), NOT_SERVING);
  await server.write('answers.rego', ANSWERS);
  assert.equal(await next(), SERVING);
  assert.equal(await status('envoy.service.auth.v3.Authorization'), SERVING);
  await assert.rejects(status('other'));
  watch.cancel();
});
