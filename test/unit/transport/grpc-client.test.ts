import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createPeerTracker, openKernel } from '../../../src/attestation/index.ts';
import { noMetrics, silentLogger, SvidgateError } from '../../../src/core/index.ts';
import { connectGrpc, startGrpcServer, type GrpcMethod } from '../../../src/transport/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { waitUntil } from '../../support/wait-until.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const never = (): AbortSignal => new AbortController().signal;

interface Scene extends AsyncDisposable {
  readonly socket: string;
  /** Calls that have ended. */
  readonly ended: string[];
}

/** A server with one method of each kind. */
async function startScene(): Promise<Scene> {
  const open = new AsyncDisposableStack();
  const folder = open.use(await tempFolder());
  const socket = join(folder.path, 's.sock');
  const tracker = createPeerTracker(openKernel());
  open.defer(() => tracker.close());
  const ended: string[] = [];
  const methods: readonly GrpcMethod[] = [
    {
      kind: 'unary',
      path: '/t.T/Echo',
      handle: (request, call) =>
        Promise.resolve(Buffer.concat([request, Buffer.from(call.header('x-word').join(','))])),
    },
    { kind: 'unary', path: '/t.T/Fail', handle: () => Promise.reject(new SvidgateError('not_found', 'not here')) },
    {
      kind: 'unary',
      path: '/t.T/Hang',
      handle: (_request, { signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    },
    {
      kind: 'server-stream',
      path: '/t.T/Count',
      async *handle(request, { signal }) {
        try {
          for (let count = 0; count < Number(text(request)) && !signal.aborted; count += 1) {
            yield Buffer.from(String(count));
            await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          ended.push('Count');
        }
      },
    },
  ];
  const server = await startGrpcServer({
    name: 'test',
    address: { kind: 'unix', path: socket, mode: 0o600 },
    methods,
    identify: tracker.identify,
    maxMessageBytes: 1024 * 1024,
    logger: silentLogger,
    metrics: noMetrics,
  });
  open.defer(() => server.stop(0));
  return { socket, ended, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

describe('the gRPC client', () => {
  test('calls with headers, and gets the answer or the error', async () => {
    await using scene = await startScene();
    using client = await connectGrpc({ socket: scene.socket, maxMessageBytes: 1024 });
    const headers = { 'x-word': '!' };
    const answer = await client.unary('/t.T/Echo', Buffer.from('hello'), { signal: never(), headers });
    assert.equal(text(answer), 'hello!');
    await assert.rejects(client.unary('/t.T/Fail', Buffer.from(''), { signal: never() }), {
      code: 'not_found',
      message: 'not here',
    });
    await assert.rejects(client.unary('/t.T/None', Buffer.from(''), { signal: never() }), { code: 'unimplemented' });
  });

  test('takes no answer that is larger than it may be', async () => {
    await using scene = await startScene();
    using client = await connectGrpc({ socket: scene.socket, maxMessageBytes: 1024 });
    await assert.rejects(client.unary('/t.T/Echo', new Uint8Array(2000), { signal: never() }), { code: 'overloaded' });
  });

  test('ends a call with its signal and with its time', async () => {
    await using scene = await startScene();
    using client = await connectGrpc({ socket: scene.socket, maxMessageBytes: 1024 });
    const stop = new AbortController();
    const calling = client.unary('/t.T/Hang', Buffer.from(''), { signal: stop.signal });
    stop.abort(new SvidgateError('shutting_down', 'enough'));
    await assert.rejects(calling, { code: 'shutting_down', message: 'enough' });
    await assert.rejects(client.unary('/t.T/Hang', Buffer.from(''), { signal: stop.signal }), {
      code: 'shutting_down',
    });
    const limited = client.unary('/t.T/Hang', Buffer.from(''), { signal: never(), timeoutMs: 50 });
    await assert.rejects(limited, { code: 'deadline_exceeded' });
  });

  test('gives a stream message by message; leaving it, or its signal, ends it on the server', async () => {
    await using scene = await startScene();
    using client = await connectGrpc({ socket: scene.socket, maxMessageBytes: 1024 });
    const all: string[] = [];
    for await (const bytes of client.serverStream('/t.T/Count', Buffer.from('3'), { signal: never() })) {
      all.push(text(bytes));
    }
    assert.deepEqual(all, ['0', '1', '2']);
    for await (const _ of client.serverStream('/t.T/Count', Buffer.from('1e12'), { signal: never() })) break;
    await waitUntil('the left stream to end', 5000, () => scene.ended.length === 2);
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _ of client.serverStream('/t.T/Count', Buffer.from('1e12'), { signal: stop.signal }))
        stop.abort();
    })();
    await assert.rejects(reading, { code: 'canceled' });
    await waitUntil('the stopped stream to end', 5000, () => scene.ended.length === 3);
  });

  test('says why nobody answers', async () => {
    await using folder = await tempFolder();
    const at = (name: string) => connectGrpc({ socket: join(folder.path, name), maxMessageBytes: 1 });
    await assert.rejects(at('none'), { code: 'server_unreachable', message: /there is no such socket$/ });
    await writeFile(join(folder.path, 'file'), '');
    await assert.rejects(at('file'), { code: 'server_unreachable', message: /it is left from one that has ended$/ });
    await assert.rejects(at('file/x'), { code: 'server_unreachable', message: /a part of its path is not a folder$/ });
    const mute = createServer((socket) => socket.destroy()).listen(join(folder.path, 'mute'));
    await once(mute, 'listening');
    using client = await at('mute');
    await assert.rejects(client.unary('/t.T/Echo', Buffer.from(''), { signal: never() }), {
      code: 'server_unreachable',
    });
    mute.close();
  });
});
