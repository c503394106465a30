import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import {
  connectWire,
  MAX_MESSAGE_BYTES,
  startScene,
  type RunningScene,
  type ServerKind,
  type WireClient,
  type WireReply,
  type WireRequest,
} from '../../../support/both-servers.ts';
import { frame } from '../../../support/raw-grpc.ts';

/** As grpc.io/docs/guides/status-codes has them. */
const [UNIMPLEMENTED, INTERNAL] = ['12', '13'];
const bytes = (text: string): Uint8Array => Buffer.from(text);
const three = frame(bytes('3'));
const STREAMS = 'what a stream sends is counted until it is taken, and compressed it would become more';
const gzip = { 'grpc-encoding': 'gzip' };

interface Case extends WireRequest {
  readonly name: string;
  /** Where it is meant to refuse what grpc-js takes, or with another status: why, and the status by method. */
  readonly refused?: { readonly why: string } & Readonly<Partial<Record<(typeof PATHS)[number], string>>>;
}

const PATHS = ['/t.T/Echo', '/t.T/Gate', '/t.T/Count', '/t.T/Chat'] as const;

/** Of requests, whatever their method is. */
const REQUESTS: readonly Case[] = [
  { name: 'a message', body: [three] },
  { name: 'an empty message', body: [frame(bytes(''))] },
  { name: 'the largest message', body: [frame(Buffer.alloc(MAX_MESSAGE_BYTES, '7'))] },
  { name: 'one byte more', body: [frame(Buffer.alloc(MAX_MESSAGE_BYTES + 1, '7'))] },
  { name: 'a length of 4 GiB', body: [Buffer.from([0, 255, 255, 255, 255])], open: true },
  { name: 'no message', body: [] },
  { name: 'half a prefix', body: [three.subarray(0, 3)] },
  { name: 'half a message', body: [three.subarray(0, 5)] },
  { name: 'two messages', body: [three, three] },
  { name: 'two messages in one frame', body: [Buffer.concat([three, three])] },
  {
    name: 'a message and half of another',
    body: [Buffer.concat([three, three.subarray(0, 5)])],
    refused: {
      why: 'what is cut off is no request',
      '/t.T/Echo': UNIMPLEMENTED,
      '/t.T/Gate': UNIMPLEMENTED,
      '/t.T/Count': UNIMPLEMENTED,
    },
  },
  { name: 'a message and a prefix of 4 GiB', body: [three, Buffer.from([0, 255, 255, 255, 255])] },
  {
    name: 'gzip',
    headers: gzip,
    body: [frame(gzipSync(bytes('3')), 1)],
    refused: { why: STREAMS, '/t.T/Count': UNIMPLEMENTED },
  },
  {
    name: 'deflate',
    headers: { 'grpc-encoding': 'deflate' },
    body: [frame(deflateSync(bytes('3')), 1)],
    refused: { why: STREAMS, '/t.T/Count': UNIMPLEMENTED },
  },
  {
    name: 'gzip, and a message that is not compressed',
    headers: gzip,
    body: [three],
    refused: { why: STREAMS, '/t.T/Count': UNIMPLEMENTED },
  },
  {
    name: 'gzip that is none',
    headers: gzip,
    body: [frame(bytes('3'), 1)],
    refused: { why: STREAMS, '/t.T/Count': UNIMPLEMENTED },
  },
  {
    name: 'gzip cut off',
    headers: gzip,
    body: [frame(gzipSync(bytes('3')).subarray(0, 12), 1)],
    refused: { why: STREAMS, '/t.T/Count': UNIMPLEMENTED },
  },
  {
    name: 'gzip that grows',
    headers: gzip,
    body: [frame(gzipSync(Buffer.alloc(MAX_MESSAGE_BYTES + 1)), 1)],
    refused: { why: STREAMS, '/t.T/Count': UNIMPLEMENTED },
  },
  { name: 'an unknown encoding', headers: { 'grpc-encoding': 'zstd' }, body: [frame(bytes('3'), 1)] },
  { name: 'an encoding of Object', headers: { 'grpc-encoding': 'constructor' }, body: [frame(bytes('3'), 1)] },
  {
    name: 'compressed, with no encoding',
    body: [frame(gzipSync(bytes('3')), 1)],
    refused: {
      why: 'gRPC has it so; grpc-js takes it as plain',
      '/t.T/Echo': INTERNAL,
      '/t.T/Gate': INTERNAL,
      '/t.T/Count': INTERNAL,
      '/t.T/Chat': INTERNAL,
    },
  },
  {
    name: 'a flag that is none',
    body: [frame(bytes('3'), 2)],
    refused: {
      why: 'gRPC knows 0 and 1',
      '/t.T/Echo': INTERNAL,
      '/t.T/Gate': INTERNAL,
      '/t.T/Count': INTERNAL,
      '/t.T/Chat': INTERNAL,
    },
  },
  { name: 'a time-out', headers: { 'grpc-timeout': '20S' }, body: [three] },
  { name: 'a time-out of years', headers: { 'grpc-timeout': '99999999H' }, body: [three] },
  { name: 'a time-out that is none', headers: { 'grpc-timeout': 'soon' }, body: [three] },
  {
    name: 'a time-out with too many digits',
    headers: { 'grpc-timeout': '123456789m' },
    body: [three],
    refused: {
      why: 'gRPC has 8 at most; grpc-js takes the last 8',
      '/t.T/Echo': INTERNAL,
      '/t.T/Gate': INTERNAL,
      '/t.T/Count': INTERNAL,
      '/t.T/Chat': INTERNAL,
    },
  },
  {
    name: 'a time-out with more around it',
    headers: { 'grpc-timeout': 'x20Sx' },
    body: [three],
    refused: {
      why: 'gRPC has digits and a unit; grpc-js finds them anywhere',
      '/t.T/Echo': INTERNAL,
      '/t.T/Gate': INTERNAL,
      '/t.T/Count': INTERNAL,
      '/t.T/Chat': INTERNAL,
    },
  },
  { name: 'a request that never ends', headers: { 'grpc-timeout': '50m' }, body: [three], open: true },
  { name: 'a request that never begins', headers: { 'grpc-timeout': '50m' }, open: true },
];

/** Of what stands around a call. */
const HEADS: readonly Case[] = [
  { name: 'a header', headers: { 'x-word': 'word' }, body: [three] },
  { name: 'a failure, with a text that needs encoding', path: '/t.T/Fail', body: [frame(bytes('ö 1% \n~'))] },
  { name: 'a handler that breaks', path: '/t.T/Break', body: [three] },
  { name: 'a method that is not there', path: '/t.T/None', body: [three] },
  { name: 'a method of Object', path: '/constructor', body: [three] },
  { name: 'a content type of gRPC', headers: { 'content-type': 'application/grpc+proto' }, body: [three] },
  { name: 'another content type', headers: { 'content-type': 'application/json' }, body: [three] },
  { name: 'no content type', headers: { 'content-type': undefined }, body: [three] },
  { name: 'no te', headers: { te: undefined }, body: [three] },
];

/** A reply as far as callers go by it: texts of refusals are our own, those of handlers are not. */
interface Shown extends Omit<WireReply, 'message'> {
  readonly text: string | undefined;
}

function show({ message, ...reply }: WireReply, path: string): Shown {
  const text = message === undefined ? undefined : decodeURIComponent(message);
  return { ...reply, text: path === '/t.T/Fail' || path === '/t.T/Break' || reply.status === '0' ? text : typeof text };
}

function refusalOf(path: string, status: string): Shown {
  const reply = { http: 200, type: 'application/grpc+proto' };
  if (path !== '/t.T/Gate') return { ...reply, status, trailersOnly: true, messages: [], text: 'string' };
  return { ...reply, status: '0', trailersOnly: false, messages: ['0:fault invalid_request'], text: 'OK' };
}

interface Side {
  readonly scene: RunningScene;
  readonly client: WireClient;
}

interface Both extends AsyncDisposable {
  readonly js: Side;
  readonly wire: Side;
}

async function startBoth(): Promise<Both> {
  const open = new AsyncDisposableStack();
  const start = async (kind: ServerKind): Promise<Side> => {
    const scene = open.use(await startScene(kind));
    return { scene, client: open.use(connectWire(scene.socket)) };
  };
  const [js, wire] = [await start('grpc-js'), await start('node:http2')];
  return { js, wire, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

describe('the server of the gate answers as grpc-js does', () => {
  for (const path of PATHS) {
    test(`${path}, whatever its request is`, async () => {
      await using both = await startBoth();
      const { js, wire } = both;
      for (const { name, refused, ...request } of REQUESTS) {
        const expected = show(await js.client.call({ path, ...request }), path);
        const given = show(await wire.client.call({ path, ...request }), path);
        const status = refused?.[path];
        assert.deepEqual(given, status === undefined ? expected : refusalOf(path, status), name);
        if (status !== undefined) assert.notDeepEqual(given, expected, `${name}: they do not differ any more`);
        const next = await wire.client.call({ path: '/t.T/Echo', body: [three] });
        assert.deepEqual(next.messages, ['0:3'], `the call after: ${name}`);
      }
    });
  }

  test('whatever stands around a call', async () => {
    await using both = await startBoth();
    const { js, wire } = both;
    for (const { name, ...request } of HEADS) {
      const path = request.path ?? '';
      assert.deepEqual(show(await wire.client.call(request), path), show(await js.client.call(request), path), name);
    }
  });
});

test('gRPC is POST', async () => {
  await using scene = await startScene('node:http2');
  using client = connectWire(scene.socket);
  for (const method of ['GET', 'PUT', 'HEAD', 'OPTIONS']) {
    const { http, status } = await client.call({ headers: { ':method': method } });
    assert.deepEqual({ http, status }, { http: 405, status: undefined });
  }
  assert.deepEqual((await client.call({ body: [three] })).messages, ['0:3']);
});

test('however the bytes of a connection and the frames of a message are cut, the answer is the same', async () => {
  await using scene = await startScene('node:http2');
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });
  const messages = fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(sizes, sizes, messages, async (pieces, frames, sent) => {
      using client = connectWire(scene.socket, pieces);
      const [first] = sent;
      const shown = sent.map((message) => `0:${Buffer.from(message).toString('latin1')}`);
      const unary = client.call({ body: cutInto(frame(first ?? new Uint8Array()), frames) });
      const all = Buffer.concat(sent.map((message) => frame(message)));
      const stream = client.call({ path: '/t.T/Chat', body: cutInto(all, frames) });
      assert.deepEqual((await unary).messages, shown.slice(0, 1));
      assert.deepEqual((await stream).messages, shown);
    }),
    { seed: 6, numRuns: 60 },
  );
});

function cutInto(bytes: Uint8Array, sizes: readonly number[]): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = sizes[parts.length % sizes.length] ?? 1;
    parts.push(bytes.subarray(at, at + size));
    at += size;
  }
  return parts;
}
