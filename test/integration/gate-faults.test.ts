import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  AUTHORIZATION_SERVICE,
  CheckRequest,
  CheckResponse,
  decodeMessage,
  encodeMessage,
  structToJson,
} from '../../src/proto/index.ts';
import { connect } from '../support/grpc-client.ts';
import { connectRaw, frame, type RawAnswer, type RawCall } from '../support/raw-grpc.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';

const MAX = 1024 * 1024;
const { path } = AUTHORIZATION_SERVICE.check;
const checkOf = (body: string): Uint8Array =>
  encodeMessage(CheckRequest, { attributes: { request: { http: { method: 'GET', path: '/', body } } } });
const GOOD = checkOf('');

/** A policy that allows everything: whatever is denied here, no policy denied it. */
function start(more = ''): Promise<TestServer> {
  return startTestServer({
    entries: entriesFor('/caller'),
    config: `authz:
  listen: unix:./authz.sock
  max_request_bytes: 4096
${more}  policies: { default: { path: ./authz.rego, entrypoint: envoy/authz/allow } }
`,
    files: { 'authz.rego': 'package envoy.authz\n\nallow := true\n' },
  });
}

interface Case extends Omit<RawCall, 'path'> {
  readonly name: string;
  readonly reason: string;
}

const gzip = { 'grpc-encoding': 'gzip' };
const faults: readonly Case[] = [
  { name: 'one byte too many', body: [frame(Buffer.alloc(4097))], reason: 'too_large' },
  { name: '10 MB', body: [frame(checkOf('x'.repeat(10_000_000)))], reason: 'too_large' },
  { name: 'a length of 4 GiB', body: [Buffer.from([0, 255, 255, 255, 255])], reason: 'too_large' },
  {
    name: 'few bytes that grow to 10 MB',
    headers: gzip,
    body: [frame(gzipSync(checkOf('x'.repeat(10_000_000))).subarray(0, 4000), 1)],
    reason: 'too_large',
  },
  { name: 'gzip that is none', headers: gzip, body: [frame(GOOD, 1)], reason: 'invalid_request' },
  { name: 'gzip cut off', headers: gzip, body: [frame(gzipSync(GOOD).subarray(0, 12), 1)], reason: 'invalid_request' },
  {
    name: 'an unknown compression',
    headers: { 'grpc-encoding': 'zstd' },
    body: [frame(GOOD, 1)],
    reason: 'invalid_request',
  },
  { name: 'no message', reason: 'invalid_request' },
  { name: 'half a message', body: [frame(GOOD).subarray(0, 6)], reason: 'invalid_request' },
  { name: 'two messages', body: [frame(GOOD), frame(GOOD)], reason: 'invalid_request' },
  {
    name: 'bytes after the last field',
    body: [frame(Buffer.concat([GOOD, Buffer.from([0xff])]))],
    reason: 'invalid_request',
  },
  {
    name: 'a time-out that is none',
    headers: { 'grpc-timeout': 'soon' },
    body: [frame(GOOD)],
    reason: 'invalid_request',
  },
  { name: 'no time at all', headers: { 'grpc-timeout': '1n' }, body: [frame(GOOD)], reason: 'deadline_exceeded' },
  { name: 'too little time', headers: { 'grpc-timeout': '5m' }, body: [frame(GOOD)], reason: 'deadline_exceeded' },
  {
    name: 'a request that never ends',
    headers: { 'grpc-timeout': '100m' },
    body: [frame(GOOD)],
    open: true,
    reason: 'deadline_exceeded',
  },
];

function read(answer: RawAnswer): CheckResponse {
  assert.equal(answer.grpcStatus, '0', 'a gRPC error would be an allow where failure_mode_allow is set');
  assert.ok(answer.message !== undefined);
  return decodeMessage(CheckResponse, answer.message, MAX);
}

function assertDenied(answer: RawAnswer, reason: string): void {
  const response = read(answer);
  assert.equal(response.status?.code, 7);
  assert.equal(response.deniedResponse?.status?.code, 403);
  assert.equal(structToJson(response.dynamicMetadata!)['reason'], reason);
}

describe('what never becomes a check request is an explicit deny', () => {
  test('each of them, and the next good request on the same connection is allowed', async (t) => {
    await using server = await start();
    using client = connectRaw(server.gate);
    for (const { name, reason, ...call } of faults) {
      await t.test(name, async () => {
        assertDenied(await client.call({ path, ...call }), reason);
        assert.equal(read(await client.call({ path, body: [frame(GOOD)] })).status?.code, 0);
      });
    }
  });

  test('gzip and a message with no time-out are read as ever', async () => {
    await using server = await start();
    using client = connectRaw(server.gate);
    const answer = await client.call({ path, headers: gzip, body: [frame(gzipSync(GOOD), 1)] });
    assert.equal(read(answer).status?.code, 0);
  });

  test('with on_error: error_response it is one of these, with on_error: grpc a gRPC error', async () => {
    {
      await using server = await start('  on_error: error_response\n');
      using client = connectRaw(server.gate);
      const response = read(await client.call({ path }));
      assert.equal(response.status?.code, 7);
      assert.equal(response.errorResponse?.status?.code, 500);
    }
    await using server = await start('  on_error: grpc\n');
    using client = connectRaw(server.gate);
    const answer = await client.call({ path });
    assert.notEqual(answer.grpcStatus, '0');
    assert.equal(answer.message, undefined);
  });
});

test('thousands of calls at once, of which many are cut off, are each allowed or denied, and the gate goes on', async () => {
  await using server = await start();
  using client = connect(server.gate);
  const outcomes = await Promise.all(
    Array.from({ length: 3000 }, async (_, number) => {
      const { status } = await client.check({ attributes: { request: { http: { path: `/${number}` } } } });
      return status?.code;
    }),
  );
  assert.ok(outcomes.every((code) => code === 0 || code === 7));
  assert.ok(outcomes.includes(0));
  await Promise.allSettled(Array.from({ length: 500 }, () => client.check({}, { timeoutMs: 1 })));
  assert.equal((await client.check({})).status?.code, 0);
});
