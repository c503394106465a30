import assert from 'node:assert/strict';
import { pbkdf2 } from 'node:crypto';
import { once, type EventEmitter } from 'node:events';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import { silentLogger, SvidgateError, type LogFields } from '../../../../src/core/index.ts';
import { FRAME_HEADER_BYTES, PREFACE } from '../../../../src/transport/any-authority/frames.ts';
import type { GrpcMethod } from '../../../../src/transport/index.ts';
import { connectWire, SERVERS, startScene, type RunningScene, type ServerKind } from '../../../support/both-servers.ts';
import { frame } from '../../../support/raw-grpc.ts';
import { waitUntil } from '../../../support/wait-until.ts';

const LIMIT_MS = 5000;
const raw = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
const text = (bytes: Buffer): string => bytes.toString();

function grpcClient(scene: RunningScene): grpc.Client {
  return new grpc.Client(`unix:${scene.socket}`, grpc.credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  });
}

interface Ended {
  readonly text?: string | undefined;
  readonly status: string | undefined;
  readonly details: string;
}

function unary(
  client: grpc.Client,
  path: string,
  options: grpc.CallOptions & { readonly request?: string } = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, raw, text, Buffer.from(options.request ?? 'hi'), options, (error, answer) =>
      resolve({ text: answer, status: grpc.status[error?.code ?? 0], details: error?.details ?? '' }),
    );
  });
}

for (const kind of Object.keys(SERVERS) as ServerKind[]) {
  describe(`a grpc-js client at the server on ${kind}`, () => {
    test('gets answers, errors and deadlines', async () => {
      await using scene = await startScene(kind);
      const client = grpcClient(scene);
      assert.equal((await unary(client, '/t.T/Echo')).text, 'hi');
      assert.equal((await unary(client, '/t.T/Echo', { request: 'x'.repeat(60_000) })).text?.length, 60_000);
      assert.deepEqual(await unary(client, '/t.T/Fail', { request: 'ü %\n' }), {
        text: undefined,
        status: 'NOT_FOUND',
        details: '100% not here: ü %\n',
      });
      assert.deepEqual(await unary(client, '/t.T/Break'), {
        text: undefined,
        status: 'INTERNAL',
        details: 'internal error',
      });
      assert.equal((await unary(client, '/t.T/Hang', { deadline: Date.now() + 50 })).status, 'DEADLINE_EXCEEDED');
      await waitUntil('the handler to be told', LIMIT_MS, () => scene.ended.length === 1);
      client.close();
    });

    test('has many calls open at once, in any order', async () => {
      await using scene = await startScene(kind);
      const client = grpcClient(scene);
      const answers = await Promise.all(
        Array.from({ length: 1500 }, (_, call) => unary(client, '/t.T/Echo', { request: String(call) })),
      );
      assert.deepEqual(
        answers.map((answer) => answer.text),
        answers.map((_, call) => String(call)),
      );
      client.close();
    });

    test('streams both ways, half-closes, and is told how it ended', async () => {
      await using scene = await startScene(kind);
      const client = grpcClient(scene);
      const counted = client.makeServerStreamRequest('/t.T/Count', raw, text, Buffer.from('20'));
      const counts: string[] = [];
      for await (const count of counted) counts.push(count as string);
      assert.deepEqual(
        counts,
        Array.from({ length: 20 }, (_, count) => String(count)),
      );
      const chat = client.makeBidiStreamRequest('/t.T/Chat', raw, text);
      const words: string[] = [];
      chat.on('data', (word: string) => words.push(word)).on('error', () => undefined);
      for (let word = 0; word < 100; word += 1) chat.write(Buffer.from(String(word)));
      chat.end();
      const [good] = (await seen(chat, 'status')) as [grpc.StatusObject];
      assert.equal(good.code, grpc.status.OK);
      assert.equal(words.length, 100);
      const failing = client.makeBidiStreamRequest('/t.T/Chat', raw, text);
      failing.on('data', () => undefined).on('error', () => undefined);
      failing.write(Buffer.from('fail'));
      const [bad] = (await seen(failing, 'status')) as [grpc.StatusObject];
      assert.deepEqual([bad.code, bad.details], [grpc.status.FAILED_PRECONDITION, 'as asked']);
      client.close();
    });

    test('cancels, and the handler is told; so it is when the connection ends', async () => {
      await using scene = await startScene(kind);
      const client = grpcClient(scene);
      const call = client.makeUnaryRequest('/t.T/Hang', raw, text, Buffer.from(''), () => undefined);
      const chat = client.makeBidiStreamRequest('/t.T/Chat', raw, text);
      chat.on('error', () => undefined).on('data', () => undefined);
      chat.write(Buffer.from('hi'));
      await once(chat, 'data');
      call.cancel();
      chat.cancel();
      await waitUntil('both to be told', LIMIT_MS, () => scene.ended.length === 2);
      client.close();
      using other = connectWire(scene.socket);
      const left = other.call({ path: '/t.T/Hang', body: [frame(Buffer.from(''))] });
      assert.deepEqual((await other.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
      other.session.destroy();
      await left;
      await waitUntil('the third to be told', LIMIT_MS, () => scene.ended.length === 3);
      assert.ok(scene.ended.includes('canceled'));
    });

    test('a reader that does not read holds its stream back, and nobody else', async () => {
      await using scene = await startScene(kind);
      using client = connectWire(scene.socket);
      const stream = client.session.request({
        ':method': 'POST',
        ':path': '/t.T/Chat',
        'content-type': 'application/grpc',
      });
      stream.on('error', () => undefined).pause();
      const message = frame(Buffer.alloc(16 * 1024));
      let isHeldBack = false;
      for (let sent = 0; sent < 4000 && !isHeldBack; sent += 1) {
        const taken =
          stream.write(message) || (await Promise.race([once(stream, 'drain').then(() => true), pause(500)]));
        isHeldBack = !taken;
      }
      assert.ok(isHeldBack, '64 MB were taken from somebody who reads nothing');
      assert.deepEqual((await client.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
      stream.close();
    });

    test('while it stops, unary calls that are open and new ones are answered, and streams end', async () => {
      await using scene = await startScene(kind);
      const client = grpcClient(scene);
      const chat = client.makeBidiStreamRequest('/t.T/Chat', raw, text);
      chat.on('error', () => undefined).on('data', () => undefined);
      chat.write(Buffer.from('hi'));
      await once(chat, 'data');
      const hanging = unary(client, '/t.T/Hang', { deadline: Date.now() + 300 });
      await unary(client, '/t.T/Echo');
      const status = seen(chat, 'status') as Promise<[grpc.StatusObject]>;
      const stopped = scene.server.stop(5000);
      assert.equal((await status)[0].code, grpc.status.UNAVAILABLE);
      assert.equal((await unary(client, '/t.T/Echo')).text, 'hi');
      assert.equal((await hanging).status, 'DEADLINE_EXCEEDED');
      await stopped;
      assert.equal((await unary(client, '/t.T/Echo')).status, 'UNAVAILABLE');
      client.close();
    });
  });
}

/** `once` of node:events rejects on an error; here that may come first. */
function seen(emitter: EventEmitter, event: string): Promise<unknown[]> {
  return new Promise((resolve) => emitter.once(event, (...args: unknown[]) => resolve(args)));
}

async function pause(ms: number): Promise<false> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return false;
}

describe('the server of the gate', () => {
  test('answers for what is open when its time to stop is over', async () => {
    await using scene = await startScene('node:http2');
    using client = connectWire(scene.socket);
    const unfinished = client.call({ path: '/t.T/Gate', body: [Buffer.from([0, 0])], open: true });
    assert.deepEqual((await client.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
    await scene.server.stop(50);
    assert.deepEqual((await unfinished).messages, ['0:fault shutting_down']);
  });

  test('tells its calls when the process that connected has ended, and serves no more of them', async () => {
    const exit = new AbortController();
    const process = { pid: 1, uid: 1, gid: 1, exited: exit.signal, close: () => undefined };
    await using scene = await startScene('node:http2', { identify: () => process });
    using client = connectWire(scene.socket);
    const hanging = client.call({ path: '/t.T/Hang', body: [frame(Buffer.from(''))] });
    assert.deepEqual((await client.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
    exit.abort(new SvidgateError('attestation_failed', 'it has ended'));
    assert.equal((await hanging).status, '14');
    assert.deepEqual(scene.ended, ['attestation_failed']);
    assert.equal((await client.call({ body: [frame(Buffer.from('b'))] })).status, '14');
    const gate = await client.call({ path: '/t.T/Gate', body: [frame(Buffer.from('b'))] });
    assert.deepEqual(gate.messages, ['0:fault attestation_failed']);
    assert.equal((await client.call({ path: '/t.T/Chat', body: [frame(Buffer.from('b'))] })).status, '14');
  });

  test('serves any authority where it shall', async () => {
    await using scene = await startScene('node:http2', { anyAuthority: true });
    using client = connectWire(scene.socket);
    for (const authority of ['localhost', 'outbound|8080||x', '/run/api.sock', 'a b']) {
      const reply = await client.call({ headers: { ':authority': authority }, body: [frame(Buffer.from('a'))] });
      assert.deepEqual(reply.messages, ['0:a'], authority);
    }
  });

  test('ends a request that goes on when all is said', async () => {
    await using scene = await startScene('node:http2');
    using client = connectWire(scene.socket);
    const stream = client.session.request({
      ':method': 'POST',
      ':path': '/t.T/Gate',
      'content-type': 'application/grpc',
    });
    stream.on('error', () => undefined).resume();
    stream.write(Buffer.from([0, 255, 255, 255, 255]));
    await once(stream, 'close');
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_NO_ERROR);
  });

  const refusals: readonly { readonly name: string; readonly headers: http2.OutgoingHttpHeaders }[] = [
    { name: 'for a method that is not there', headers: { ':path': '/t.T/None', 'content-type': 'application/grpc' } },
    { name: 'of another type', headers: { ':path': '/t.T/Gate', 'content-type': 'text/plain' } },
    { name: 'that posts nothing', headers: { ':method': 'GET', ':path': '/t.T/Gate' } },
  ];
  for (const { name, headers } of refusals) {
    test(`ends a request ${name}, though it goes on`, async () => {
      await using scene = await startScene('node:http2');
      using client = connectWire(scene.socket);
      const stream = client.session.request({ ':method': 'POST', ...headers }, { endStream: false });
      stream.on('error', () => undefined).resume();
      await once(stream, 'close', { signal: AbortSignal.timeout(LIMIT_MS) });
      assert.equal(stream.rstCode, http2.constants.NGHTTP2_NO_ERROR);
    });
  }

  test('cuts a message that repeats what was sent, and the connection goes on', async () => {
    await using scene = await startScene('node:http2');
    using client = connectWire(scene.socket);
    const long = 'ü%'.repeat(15_000);
    const unknown = await client.call({ path: `/${long}` });
    assert.equal(unknown.status, '12');
    assert.match(unknown.message ?? '', /^The server does not implement the method \/%C3%BC%25/);
    const failed = await client.call({ path: '/t.T/Fail', body: [frame(Buffer.from(long))] });
    assert.equal(failed.status, '5');
    assert.deepEqual((await client.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
  });

  test('headers count, too: whoever opens calls with large ones is closed', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: LogFields, message: string) => void warnings.push(message) };
    await using scene = await startScene('node:http2', { maxHeldBytes: 2 ** 20, logger });
    using hoarder = connectWire(scene.socket);
    using other = connectWire(scene.socket);
    const closed = seen(hoarder.session, 'close');
    const calls = Array.from({ length: 40 }, () =>
      hoarder.call({ headers: { 'x-word': 'x'.repeat(40_000) }, open: true }),
    );
    await closed;
    await Promise.all(calls);
    assert.deepEqual(warnings, ['connection closed: it held too much memory']);
    assert.deepEqual((await other.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
    const tooLarge = await other.call({ headers: { 'x-word': 'x'.repeat(150_000) }, body: [frame(Buffer.from('a'))] });
    assert.equal(tooLarge.http, undefined, 'Node takes 64 KiB as they are encoded, and ends the connection');
    using next = connectWire(scene.socket);
    assert.deepEqual((await next.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
  });

  test('calls whose requests nobody takes count with all that they may have sent', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: LogFields, message: string) => void warnings.push(message) };
    await using scene = await startScene('node:http2', { maxHeldBytes: 4 * 2 ** 20, logger });
    using hoarder = connectWire(scene.socket);
    const closed = seen(hoarder.session, 'close');
    const message = frame(Buffer.alloc(1000));
    for (let call = 0; call < 20; call += 1) {
      const stream = hoarder.session.request({
        ':method': 'POST',
        ':path': '/t.T/Chat',
        'content-type': 'application/grpc',
      });
      stream.on('error', () => undefined).pause(); // it reads no answers, so that no more requests are taken
      for (let sent = 0; sent < 260; sent += 1) stream.write(message);
    }
    await closed;
    assert.deepEqual(warnings, ['connection closed: it held too much memory']);
  });

  test('what is decompressed for a call that was canceled meanwhile counts no more', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: LogFields, message: string) => void warnings.push(message) };
    await using scene = await startScene('node:http2', { maxHeldBytes: 2 ** 20, logger });
    using client = connectWire(scene.socket);
    const body = frame(gzipSync(Buffer.alloc(60_000)));
    body[0] = 1;
    const headers = {
      ':method': 'POST',
      ':path': '/t.T/Gate',
      'content-type': 'application/grpc',
      'grpc-encoding': 'gzip',
    };
    for (let round = 0; round < 3; round += 1) {
      const busy = Array.from({ length: 8 }, () => derive('password', 'salt', 100_000, 32, 'sha512'));
      const streams = Array.from({ length: 10 }, () => client.session.request(headers));
      for (const stream of streams) stream.on('error', () => undefined).end(body);
      await ping(client.session);
      for (const stream of streams) stream.close(http2.constants.NGHTTP2_CANCEL);
      await Promise.all(busy);
      await ping(client.session);
    }
    assert.deepEqual((await client.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
    assert.deepEqual(warnings, []);
  });

  test('answers that nobody reads count', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: LogFields, message: string) => void warnings.push(message) };
    const large: GrpcMethod = {
      kind: 'unary',
      path: '/t.T/Large',
      handle: () => Promise.resolve(Buffer.alloc(100_000)),
    };
    await using scene = await startScene('node:http2', { maxHeldBytes: 2 ** 20, logger, methods: [large] });
    using hoarder = connectWire(scene.socket);
    const closed = seen(hoarder.session, 'close');
    for (let call = 0; call < 20; call += 1) {
      const headers = { ':method': 'POST', ':path': '/t.T/Large', 'content-type': 'application/grpc' };
      const stream = hoarder.session.request(headers).on('error', () => undefined);
      stream.pause().end(frame(Buffer.alloc(0)));
    }
    await closed;
    assert.deepEqual(warnings, ['connection closed: it held too much memory']);
  });

  const floods: readonly { readonly name: string; readonly frames: (streamId: number) => Buffer }[] = [
    {
      name: 'calls that are canceled at once',
      frames: (id) => Buffer.concat([request(id), wireFrame(3, 0, id, Buffer.alloc(4, 8))]),
    },
    {
      name: 'calls of no method that are canceled at once',
      frames: (id) => Buffer.concat([request(id, '/t.T/None'), wireFrame(3, 0, id, Buffer.alloc(4, 8))]),
    },
    { name: 'settings', frames: () => wireFrame(4, 0, 0, Buffer.alloc(0)) },
    { name: 'pings', frames: () => wireFrame(6, 0, 0, Buffer.alloc(8)) },
  ];
  for (const { name, frames } of floods) {
    test(`a flood of ${name} ends its connection, and no other`, async () => {
      await using scene = await startScene('node:http2');
      using other = connectWire(scene.socket);
      assert.deepEqual((await other.call({ body: [frame(Buffer.from('a'))] })).messages, ['0:a']);
      const socket = connect(scene.socket);
      socket.on('error', () => undefined); // it reads nothing, so that answers gather
      const closed = seen(socket, 'close');
      socket.write(Buffer.concat([PREFACE, wireFrame(4, 0, 0, Buffer.alloc(0))]));
      for (let id = 1; id < 200_000 && !socket.destroyed; id += 2) {
        if (!socket.write(frames(id))) await Promise.race([seen(socket, 'drain'), closed]);
      }
      socket.resume();
      await closed;
      assert.deepEqual((await other.call({ body: [frame(Buffer.from('b'))] })).messages, ['0:b']);
    });
  }
});

const derive = promisify(pbkdf2);

/** The server has seen all that was sent before, and its event loop had a turn. */
async function ping(session: http2.ClientHttp2Session): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    await new Promise<void>((resolve) => void session.ping(() => resolve()));
  }
}

function wireFrame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** The headers of a call. */
function request(streamId: number, path = '/t.T/Hang'): Buffer {
  const literal = (name: string, value: string): Buffer =>
    Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);
  const fields = [literal(':path', path), literal(':authority', 'x'), literal('content-type', 'application/grpc')];
  return wireFrame(1, 4, streamId, Buffer.concat([Buffer.from([0x83, 0x86]), ...fields]));
}
