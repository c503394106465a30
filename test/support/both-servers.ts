import { join } from 'node:path';
import http2 from 'node:http2';
import { connect, type Socket } from 'node:net';
import { duplexPair, type Duplex } from 'node:stream';
import { createPeerTracker, openKernel } from '../../src/attestation/index.ts';
import { noMetrics, silentLogger, SvidgateError } from '../../src/core/index.ts';
import {
  startGrpcServer,
  startWireServer,
  type GrpcMethod,
  type GrpcServer,
  type GrpcServerOptions,
} from '../../src/transport/index.ts';
import { tempFolder } from './temp-folder.ts';

/** The server of the gate, and grpc-js, which is its oracle. */
export const SERVERS = { 'grpc-js': startGrpcServer, 'node:http2': startWireServer } as const;
export type ServerKind = keyof typeof SERVERS;

export interface RunningScene extends AsyncDisposable {
  /** Path of its Unix socket. */
  readonly socket: string;
  readonly server: GrpcServer;
  /** Why calls of `/t.T/Hang` and `/t.T/Chat` ended. */
  readonly ended: string[];
  /** Error codes that `onFault` of `/t.T/Gate` was told. */
  readonly faults: string[];
}

export const MAX_MESSAGE_BYTES = 64 * 1024;

/** A server with a method of each kind. */
export async function startScene(kind: ServerKind, options: Partial<GrpcServerOptions> = {}): Promise<RunningScene> {
  const open = new AsyncDisposableStack();
  const folder = open.use(await tempFolder());
  const socket = join(folder.path, 's.sock');
  const tracker = createPeerTracker(openKernel());
  open.defer(() => tracker.close());
  const [ended, faults]: [string[], string[]] = [[], []];
  const server = await SERVERS[kind]({
    name: 'test',
    address: { kind: 'unix', path: socket, mode: 0o600 },
    methods: methods(ended, faults),
    identify: tracker.identify,
    maxMessageBytes: MAX_MESSAGE_BYTES,
    logger: silentLogger,
    metrics: noMetrics,
    ...options,
  });
  open.defer(() => server.stop(0));
  return { socket, server, ended, faults, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

function methods(ended: string[], faults: string[]): readonly GrpcMethod[] {
  return [
    {
      kind: 'unary',
      path: '/t.T/Echo',
      handle: (request, call) =>
        Promise.resolve(Buffer.concat([request, Buffer.from(call.header('x-word').join(','))])),
    },
    {
      kind: 'unary',
      path: '/t.T/Fail',
      handle: (request) =>
        Promise.reject(new SvidgateError('not_found', `100% not here: ${Buffer.from(request).toString()}`)),
    },
    { kind: 'unary', path: '/t.T/Break', handle: () => Promise.reject(new Error('secret')) },
    {
      kind: 'unary',
      path: '/t.T/Hang',
      handle: (_request, { signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            ended.push(SvidgateError.from(signal.reason).code);
            reject(signal.reason as Error);
          }),
        ),
    },
    {
      kind: 'unary',
      path: '/t.T/Gate',
      handle: (request) => Promise.resolve(Buffer.concat([Buffer.from('seen '), request])),
      onFault: (error) => {
        faults.push(error.code);
        return Buffer.from(`fault ${error.code}`);
      },
    },
    {
      kind: 'server-stream',
      path: '/t.T/Count',
      async *handle(request) {
        const last = Math.min(100, Number(Buffer.from(request).toString()));
        for (let count = 0; count < last; count += 1) yield Buffer.from(String(count));
        await Promise.resolve();
      },
    },
    {
      kind: 'stream',
      path: '/t.T/Chat',
      async *handle(requests, { signal }) {
        try {
          for await (const request of requests) {
            if (Buffer.from(request).toString() === 'fail') throw new SvidgateError('conflict', 'as asked');
            yield request;
          }
        } finally {
          ended.push(signal.aborted ? SvidgateError.from(signal.reason).code : 'done');
        }
      },
    },
  ];
}

/** All that came back for one call. */
export interface WireReply {
  readonly http: number | undefined;
  readonly type: string | undefined;
  readonly status: string | undefined;
  readonly message: string | undefined;
  readonly trailersOnly: boolean;
  readonly messages: readonly string[];
}

export interface WireRequest {
  readonly path?: string;
  /** In the place of, or beside, what gRPC sends; undefined takes one away. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** DATA frames. */
  readonly body?: readonly Uint8Array[];
  /** Leave the request open after the body. */
  readonly open?: boolean;
}

export interface WireClient extends Disposable {
  call(request: WireRequest): Promise<WireReply>;
  readonly session: http2.ClientHttp2Session;
}

/** @param cut the sizes of the pieces that the connection's bytes come in, again and again */
export function connectWire(path: string, cut: readonly number[] = []): WireClient {
  const session = http2.connect('http://svidgate', {
    createConnection: () => (cut.length === 0 ? connect(path) : cutting(connect(path), cut)),
    maxSessionMemory: 1000, // or else our own side refuses to send what is large
    maxSendHeaderBlockLength: 200_000,
  });
  session.on('error', () => undefined); // seen as the end of the calls
  return { session, call: (request) => callOn(session, request), [Symbol.dispose]: () => session.destroy() };
}

function callOn(session: http2.ClientHttp2Session, request: WireRequest): Promise<WireReply> {
  const { path = '/t.T/Echo', headers = {}, body = [], open = false } = request;
  const usual = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request(JSON.parse(JSON.stringify({ ...usual, ...headers })) as http2.OutgoingHttpHeaders);
  const reply = { http: undefined as number | undefined, type: undefined as string | undefined };
  const ending = { status: undefined as string | undefined, message: undefined as string | undefined };
  let trailersOnly = false;
  const chunks: Buffer[] = [];
  const takeStatus = (fields: http2.IncomingHttpHeaders): void => {
    ending.status = fields['grpc-status'] as string | undefined;
    ending.message = fields['grpc-message'] as string | undefined;
  };
  stream.on('response', (fields) => {
    reply.http = fields[':status'];
    reply.type = fields['content-type'];
    trailersOnly = 'grpc-status' in fields;
    if (trailersOnly) takeStatus(fields);
  });
  stream.on('trailers', takeStatus);
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => undefined);
  for (const part of body) stream.write(part);
  if (!open) stream.end();
  return new Promise((resolve) => {
    const finish = (): void => {
      stream.close();
      resolve({ ...reply, ...ending, trailersOnly, messages: messagesIn(Buffer.concat(chunks)) });
    };
    stream.once('end', finish).once('close', finish);
  });
}

function messagesIn(bytes: Buffer): readonly string[] {
  const messages: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = bytes.readUInt32BE(at + 1);
    messages.push(`${bytes[at] ?? 0}:${bytes.subarray(at + 5, at + 5 + size).toString('latin1')}`);
    at += 5 + size;
  }
  return messages;
}

/** What is written comes out in pieces of these sizes, in turns of the event loop of their own. */
function cutting(socket: Socket, sizes: readonly number[]): Duplex {
  const [near, far] = duplexPair();
  socket.setNoDelay(true);
  let next = 0;
  const send = async (bytes: Buffer): Promise<void> => {
    for (let at = 0; at < bytes.length;) {
      const size = sizes[next++ % sizes.length] ?? 1;
      socket.write(bytes.subarray(at, at + size));
      at += size;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  let sending = Promise.resolve();
  far.on('data', (bytes: Buffer) => {
    sending = sending.then(() => send(bytes));
  });
  far.on('close', () => socket.destroy());
  socket.on('data', (bytes: Buffer) => far.write(bytes));
  socket.on('close', () => near.destroy());
  for (const side of [near, far, socket]) side.on('error', () => undefined);
  return near;
}
