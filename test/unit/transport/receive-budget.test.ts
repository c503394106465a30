import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { noMetrics, silentLogger } from '../../../src/core/index.ts';
import { startGrpcServer, startWireServer } from '../../../src/transport/index.ts';
import { frame } from '../../support/raw-grpc.ts';

const KIB = 1024;
const HEADERS = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
const UNARY = '/test/Unary';
const STREAM = '/test/Stream';

interface Server extends AsyncDisposable {
  readonly connect: () => http2.ClientHttp2Session;
  readonly warnings: string[];
}

/** Answers every message with its length; holds at most 1 MiB, in messages of at most 256 KiB. */
async function startServer(start: typeof startGrpcServer): Promise<Server> {
  const warnings: string[] = [];
  const answer = (request: Uint8Array): Uint8Array => Buffer.from(String(request.length));
  const server = await start({
    name: 'test',
    address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    methods: [
      { kind: 'unary', path: UNARY, handle: (request) => Promise.resolve(answer(request)) },
      {
        kind: 'stream',
        path: STREAM,
        async *handle(requests) {
          for await (const request of requests) yield answer(request);
        },
      },
    ],
    identify: () => assert.fail('TCP has no credentials'),
    maxMessageBytes: 256 * KIB,
    maxHeldBytes: 1024 * KIB,
    logger: { ...silentLogger, warn: (_, message) => void warnings.push(message) },
    metrics: noMetrics,
  });
  return {
    warnings,
    connect() {
      const port = Number(server.address.split(':')[1]);
      const session = http2.connect('http://test', { createConnection: () => net.connect(port, '127.0.0.1') });
      session.on('error', () => undefined);
      return session;
    },
    [Symbol.asyncDispose]: () => server.stop(100),
  };
}

async function ask(session: http2.ClientHttp2Session, request: Uint8Array): Promise<string> {
  const stream = session.request({ ...HEADERS, ':path': UNARY });
  stream.end(frame(request));
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).subarray(5).toString();
}

for (const [kind, start] of Object.entries({ 'grpc-js': startGrpcServer, 'node:http2': startWireServer })) {
  for (const path of [UNARY, STREAM]) {
    test(`${kind}: messages of ${path} that never end close their own connection, and others are served`, async () => {
      await using server = await startServer(start);
      const [hoarder, other] = [server.connect(), server.connect()];
      const closed = once(hoarder, 'close');
      const unfinished = frame(Buffer.alloc(250 * KIB)).subarray(0, 200 * KIB);
      for (let call = 0; call < 20; call += 1) {
        const stream = hoarder.request({ ...HEADERS, ':path': path });
        stream.on('error', () => undefined);
        stream.write(unfinished);
        assert.equal(await ask(other, Buffer.alloc(KIB)), String(KIB));
      }
      await closed;
      assert.deepEqual(server.warnings, ['connection closed: it held too much memory']);
      assert.equal(await ask(other, Buffer.alloc(250 * KIB)), String(250 * KIB));
      other.close();
    });
  }

  test(`${kind}: what handlers have taken does not count, however much it is`, async () => {
    await using server = await startServer(start);
    const session = server.connect();
    for (let call = 0; call < 20; call += 1)
      assert.equal(await ask(session, Buffer.alloc(200 * KIB)), String(200 * KIB));
    const stream = session.request({ ...HEADERS, ':path': STREAM });
    let answers = 0;
    for (let message = 0; message < 100; message += 1) {
      stream.write(frame(Buffer.alloc(100 * KIB)));
      const [answer] = (await once(stream, 'data')) as [Buffer];
      assert.equal(answer.subarray(5).toString(), String(100 * KIB));
      answers += 1;
    }
    assert.equal(answers, 100);
    assert.deepEqual(server.warnings, []);
    session.destroy();
  });

  test(`${kind}: a compressed stream is refused: it would hold more than it sends`, async () => {
    await using server = await startServer(start);
    const session = server.connect();
    const stream = session.request({ ...HEADERS, ':path': STREAM, 'grpc-encoding': 'gzip' });
    stream.end(frame(gzipSync(Buffer.alloc(100 * KIB)), 1));
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    assert.equal(headers['grpc-status'], '12');
    session.destroy();
  });
}
