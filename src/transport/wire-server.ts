import { performServerHandshake } from 'node:http2';
import type { Socket } from 'node:net';
import { SvidgateError } from '../core/index.ts';
import { AnyAuthorityStream } from './any-authority/any-authority-stream.ts';
import { listen } from './connection-listener.ts';
import type { GrpcServer, GrpcServerOptions } from './grpc-server.ts';
import { HeldTotal } from './held-total.ts';
import type { Peer } from './peer.ts';
import type { ServerTls } from './server-tls.ts';
import type { AcceptedClient } from './tls/accepted-client.ts';
import { TlsDoor } from './tls/tls-door.ts';
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from './wire/windows.ts';
import { shuttingDown, WireConnection, type WireListener } from './wire/wire-connection.ts';

const DEFAULT_MAX_HELD_BYTES = 256 * 2 ** 20;

/** As many calls at once as grpc-js is told to take. */
const MAX_CONCURRENT_STREAMS = 1000;
/** Of a TCP connection that says nothing: one whose other end is gone ends some ten minutes later. */
const KEEP_ALIVE_MS = 60_000;

/**
 * Limits of one connection. A caller that cancels now and then, as an Envoy whose clients go away, is no flood; more
 * cancels than this end the connection (CVE-2023-44487). What it holds is bounded by the budget of all connections.
 */
const SESSION_OPTIONS = {
  settings: { maxConcurrentStreams: MAX_CONCURRENT_STREAMS, initialWindowSize: STREAM_WINDOW_BYTES },
  streamResetBurst: 5000,
  streamResetRate: 500,
  maxSessionMemory: 1024, // MiB; the budget is what counts
};

export interface WireServerOptions extends GrpcServerOptions {
  /** Without it a TCP caller is anybody. */
  readonly tls?: ServerTls;
}

/**
 * Serves gRPC as `startGrpcServer` does, straight on Node's HTTP/2: less work for each call, which is what the gate is made
 * of. Docs: docs/decisions/0013. Throws what `listen` throws.
 */
export async function startWireServer(options: WireServerOptions): Promise<GrpcServer> {
  const connections = new Set<WireConnection>();
  const listener: WireListener = {
    methods: new Map(options.methods.map((method) => [method.path, method])),
    maxMessageBytes: options.maxMessageBytes,
    held: new HeldTotal({
      name: options.name,
      maxBytes: options.maxHeldBytes ?? Math.max(DEFAULT_MAX_HELD_BYTES, 4 * options.maxMessageBytes),
      logger: options.logger,
    }),
    logger: options.logger,
    isStopping: false,
  };
  const open = (socket: Socket, peer: Peer, client?: AcceptedClient): void => {
    if (socket.destroyed) return;
    if (peer.kind !== 'unix') socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const stream = options.anyAuthority === true ? new AnyAuthorityStream(socket) : socket;
    const session = performServerHandshake(stream, SESSION_OPTIONS);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    const connection = new WireConnection(listener, {
      peer,
      session,
      ...(client === undefined ? {} : { client }),
    });
    connections.add(connection);
    session.once('close', () => connections.delete(connection));
    options.onPeer?.(peer);
  };
  const door = openDoor(options, open);
  const bound = await listen({ ...options, onConnection: door });
  return {
    address: bound.address,
    async stop(graceMs) {
      listener.isStopping = true;
      await drain(connections, graceMs);
      await bound.close();
    },
  };
}

type Open = (socket: Socket, peer: Peer, client?: AcceptedClient) => void;

/** What takes an accepted connection. */
function openDoor(options: WireServerOptions, open: Open): (socket: Socket, peer: Peer) => void {
  const { tls, address } = options;
  if (tls === undefined) return open;
  if (address.kind !== 'tcp')
    throw new SvidgateError('config_invalid', 'TLS is for TCP: the kernel knows who is on a Unix socket');
  const door = new TlsDoor({ ...options, tls, onClient: (socket, client) => open(socket, client.peer, client) });
  return (socket, peer) => {
    if (peer.kind === 'tcp') door.take(socket, peer);
    else socket.destroy();
  };
}

/** Time for the last bytes to leave. */
const LAST_BYTES_MS = 100;

/**
 * Streams end now. Unary calls, also new ones, are answered while there are any, at most for `graceMs`; what is not
 * answered then gets its fault. Then each connection is told which calls it was the last to serve.
 */
async function drain(connections: ReadonlySet<WireConnection>, graceMs: number): Promise<void> {
  const calls = function* (): Generator<WireConnection['calls'] extends Set<infer C> ? C : never> {
    for (const connection of connections) yield* connection.calls;
  };
  const closed = (): Promise<unknown> => Promise.all([...connections].map((connection) => connection.idle()));
  for (const call of calls()) call.stop(shuttingDown());
  await within(graceMs, closed());
  for (const call of calls()) call.fail(shuttingDown());
  for (const connection of connections) connection.close();
  await within(LAST_BYTES_MS, closed());
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([work, limit]);
  clearTimeout(timer);
}
