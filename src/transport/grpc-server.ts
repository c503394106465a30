import type { Duplex } from 'node:stream';
import {
  Server,
  ServerCredentials,
  status,
  type Deadline,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type ServerDuplexStream,
  type ServerWritableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { describeError, SvidgateError, type Logger, type Metrics } from '../core/index.ts';
import { answerFaults } from './answer-faults.ts';
import { AnyAuthorityStream } from './any-authority/any-authority-stream.ts';
import type { ListenAddress } from './bind.ts';
import { listen, type ConnectionListener } from './connection-listener.ts';
import type { CallContext, GrpcMethod, ServerStreamMethod, StreamMethod, UnaryMethod } from './grpc-service.ts';
import { ownerOf, type IdentifyPeer, type Peer } from './peer.ts';
import { createReceiveBudget, type ReceiveBudget } from './receive-budget.ts';
import { requestsOf, sendOn } from './stream-adapter.ts';

export interface GrpcServerOptions {
  /** Its name in metrics and log lines. */
  readonly name: string;
  readonly address: ListenAddress;
  readonly methods: readonly GrpcMethod[];
  readonly identify: IdentifyPeer;
  /** Told of each connection before its first call, so that slow work on the caller can begin. */
  readonly onPeer?: (peer: Peer) => void;
  /** A larger message is `too_large` before the handler sees it, and is not held in memory. */
  readonly maxMessageBytes: number;
  /**
   * For all callers together, what was received and not taken by a handler, and 8 KiB for each open call; beyond it the
   * connection with most of it is closed. Default 256 MiB, which is some 32,000 open streams, or four messages if that
   * is more.
   */
  readonly maxHeldBytes?: number;
  /**
   * Whether requests are served whatever their `:authority` is: a path (grpc-java), a cluster name such as
   * `outbound|8080||x`, empty or missing. Without it Node's HTTP/2 resets them. Costs time for each request; default false.
   */
  readonly anyAuthority?: boolean;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface GrpcServer {
  readonly address: string;
  /** Ends every stream with UNAVAILABLE, lets unary calls finish for `graceMs`, then closes all and removes the socket and its aliases. */
  stop(graceMs: number): Promise<void>;
}

const DEFAULT_MAX_HELD_BYTES = 256 * 2 ** 20;

const identity = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Serves gRPC to callers whose peer is known. Throws what `listen` throws. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const budget = createReceiveBudget({
    name: options.name,
    maxBytes: options.maxHeldBytes ?? Math.max(DEFAULT_MAX_HELD_BYTES, 4 * options.maxMessageBytes),
    logger: options.logger,
  });
  const calls = new CallTable(options, budget);
  const server = new Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': 1000,
    interceptors: [budget.interceptor, answerFaults(options.methods.filter((method) => method.kind === 'unary'))],
  });
  for (const method of options.methods) register(server, method, calls);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener: ConnectionListener = await listen({
    ...options,
    onConnection: (socket, peer) => {
      const connection = options.anyAuthority === true ? new AnyAuthorityStream(socket) : socket;
      calls.addConnection(connection, peer);
      options.onPeer?.(peer);
      injector.injectConnection(connection);
    },
  });
  return {
    address: listener.address,
    async stop(graceMs) {
      await calls.drain(graceMs);
      injector.destroy();
      await listener.close();
      server.forceShutdown();
    },
  };
}

function register(server: Server, method: GrpcMethod, calls: CallTable): void {
  const { path } = method;
  switch (method.kind) {
    case 'unary':
      return void server.register(path, calls.unary(method), identity, identity, 'unary');
    case 'server-stream':
      return void server.register(path, calls.serverStream(method), identity, identity, 'serverStream');
    case 'stream':
      return void server.register(path, calls.stream(method), identity, identity, 'bidi');
  }
}

interface CallLike {
  readonly metadata: Metadata;
  getPeer(): string;
  getDeadline(): Deadline;
  readonly cancelled: boolean;
  on(event: 'cancelled' | 'close', listener: () => void): unknown;
}

type StreamingCall = ServerWritableStream<Uint8Array, Uint8Array> | ServerDuplexStream<Uint8Array, Uint8Array>;

interface Connection {
  readonly peer: Peer;
  /** What ends each of its open calls. */
  readonly calls: Set<AbortController>;
}

interface OpenCall extends Disposable {
  readonly cancel: AbortController;
  /** Throws `canceled` when the connection has ended already. */
  readonly context: () => CallContext;
}

/** Finds a call's connection again, and knows which calls are under way. */
class CallTable {
  readonly #options: GrpcServerOptions;
  readonly #budget: ReceiveBudget;
  readonly #connections = new Map<string, Connection>();
  readonly #running = new Set<Promise<void>>();
  readonly #streams = new Set<AbortController>();
  #stopping = false;

  constructor(options: GrpcServerOptions, budget: ReceiveBudget) {
    this.#options = options;
    this.#budget = budget;
  }

  /** grpc-js tells a call's connection by its remote address alone, so each connection gets one of its own. */
  addConnection(socket: Duplex, peer: Peer): void {
    const key = `connection#${peer.connectionId}`;
    Object.defineProperty(socket, 'remoteAddress', { value: key });
    Object.defineProperty(socket, 'remotePort', { value: undefined });
    const connection: Connection = { peer, calls: new Set() };
    this.#connections.set(key, connection);
    this.#budget.addConnection(key, socket, ownerOf(peer));
    socket.once('close', () => this.#connections.delete(key));
    if (peer.kind !== 'unix') return;
    const { exited } = peer.process;
    exited.addEventListener('abort', () => connection.calls.forEach((call) => call.abort(exited.reason)), {
      once: true,
    });
  }

  /** Unary calls go on while the server stops: the gate decides as long as the process lives. */
  unary(method: UnaryMethod): handleUnaryCall<Uint8Array, Uint8Array> {
    return (call, callback) => {
      const answer = async (): Promise<void> => {
        using open = this.#open(call);
        try {
          callback(null, await method.handle(call.request, open.context()));
        } catch (error) {
          const failure = this.#serviceError(error, method.path);
          const reply = method.onFault?.(SvidgateError.from(error));
          if (reply === undefined) callback(failure);
          else callback(null, reply);
        }
      };
      this.#track(answer());
    };
  }

  serverStream(method: ServerStreamMethod): handleServerStreamingCall<Uint8Array, Uint8Array> {
    return (call) => this.#serve(call, method.path, (context) => method.handle(call.request, context));
  }

  stream(method: StreamMethod): handleBidiStreamingCall<Uint8Array, Uint8Array> {
    return (call) => {
      const onTaken = (bytes: number): void => this.#budget.taken(call.metadata, bytes);
      this.#serve(call, method.path, (context) => method.handle(requestsOf(call, context.signal, onTaken), context));
    };
  }

  #serve(call: StreamingCall, path: string, respond: (context: CallContext) => AsyncIterable<Uint8Array>): void {
    const serve = async (): Promise<void> => {
      using open = this.#open(call);
      this.#streams.add(open.cancel);
      try {
        if (this.#stopping) throw shuttingDown();
        const context = open.context();
        for await (const response of respond(context)) await sendOn(call, response, context.signal);
        context.signal.throwIfAborted();
        call.end();
      } catch (error) {
        if (!call.cancelled) call.emit('error', this.#serviceError(error, path));
      } finally {
        this.#streams.delete(open.cancel);
      }
    };
    this.#track(serve());
  }

  /** Ends the streams now and waits for what is left, at most `graceMs`. */
  async drain(graceMs: number): Promise<void> {
    this.#stopping = true;
    for (const stream of this.#streams) stream.abort(shuttingDown());
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, graceMs)));
    await Promise.race([Promise.allSettled(this.#running), limit]);
    clearTimeout(timer);
    // The last bytes of a status leave with the next turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  }

  #track(work: Promise<void>): void {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }

  /**
   * A call and what ends it: the caller's cancel, the end of its process, the server's stop. One controller for each
   * call, told by its connection: AbortSignal.any on a signal that lives as long as the connection costs memory for each call.
   */
  #open(call: CallLike): OpenCall {
    const cancel = new AbortController();
    const connection = this.#connections.get(call.getPeer());
    connection?.calls.add(cancel);
    call.on('cancelled', () => cancel.abort(new SvidgateError('canceled', 'the caller canceled the call')));
    return {
      cancel,
      context: () => {
        if (connection === undefined) throw new SvidgateError('canceled', 'the connection has ended');
        const { peer } = connection;
        if (peer.kind === 'unix' && peer.process.exited.aborted) cancel.abort(peer.process.exited.reason);
        const deadline = call.getDeadline();
        const at = deadline instanceof Date ? deadline.getTime() : deadline;
        return {
          peer,
          signal: cancel.signal,
          deadline: Number.isFinite(at) ? at : undefined,
          header: (name) => call.metadata.get(name).map(String),
        };
      },
      [Symbol.dispose]: () => {
        connection?.calls.delete(cancel);
        // Sources that the handler left waiting end with the call.
        cancel.abort(new SvidgateError('canceled', 'the call has ended'));
      },
    };
  }

  #serviceError(caught: unknown, method: string): Partial<ServiceError> & { code: status } {
    const error = SvidgateError.from(caught);
    const fields = { method, error_code: error.code, grpc_status: error.grpcStatus, reason: describeError(error) };
    if (error.grpcStatus === 'INTERNAL') this.#options.logger.error(fields, 'call failed');
    else this.#options.logger.debug(fields, 'call ended with a status');
    return { code: status[error.grpcStatus], details: error.message };
  }
}

function shuttingDown(): SvidgateError {
  return new SvidgateError('shutting_down', 'svidgate is stopping');
}
