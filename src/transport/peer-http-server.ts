import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SvidgateError, type Logger, type Metrics } from '../core/index.ts';
import type { ListenAddress } from './bind.ts';
import { listen } from './connection-listener.ts';
import { HeldTotal } from './held-total.ts';
import { HttpConnection, type HttpListener } from './http/http-connection.ts';
import type { HttpCall, HttpReply } from './http/http-call.ts';
import type { IdentifyPeer, Peer } from './peer.ts';
import type { ServerTls } from './server-tls.ts';
import type { AcceptedClient } from './tls/accepted-client.ts';
import { TlsDoor } from './tls/tls-door.ts';

export interface PeerHttpServer {
  /** `unix:PATH` or `HOST:PORT` with the port that was bound. */
  readonly address: string;
  /** Requests are answered for `graceMs`, each as the last of its connection; what is not answered then gets its fault. */
  stop(graceMs: number): Promise<void>;
}

export interface PeerHttpServerOptions {
  /** Its name in metrics and log lines. */
  readonly name: string;
  /** A Unix socket, or TCP with `tls`. */
  readonly address: ListenAddress;
  readonly tls?: ServerTls;
  readonly identify: IdentifyPeer;
  /** Of a new connection, before its first request. */
  readonly onPeer?: (peer: Peer) => void;
  readonly handle: (call: HttpCall) => Promise<HttpReply>;
  /**
   * The response to what the handler did not answer: it threw, the server is stopping, the caller has ended, the request is none,
   * is too large or came too slowly. Must not throw.
   */
  readonly onFault: (error: SvidgateError) => HttpReply;
  /** The largest body; a larger one is a fault. */
  readonly maxBodyBytes: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const MAX_HEADER_BYTES = 64 * 1024;
const HEADERS_TIMEOUT_MS = 5000;
const REQUEST_TIMEOUT_MS = 10_000;
/** Longer than proxies keep theirs (Envoy: an hour), so that no request meets a connection that is being closed. */
const KEEP_ALIVE_MS = 65 * 60_000;
const CHECK_INTERVAL_MS = 500;
const MAX_HELD_BYTES = 256 * 2 ** 20;

/**
 * Serves HTTP/1.1 to callers that are known: each request as it came, nothing joined, dropped or resolved. What is no request gets
 * an answer, too, and the connection ends. Throws what `listen` throws.
 */
export async function startPeerHttpServer(options: PeerHttpServerOptions): Promise<PeerHttpServer> {
  const { name, tls, address, logger, maxBodyBytes } = options;
  if ((tls === undefined) !== (address.kind === 'unix')) {
    throw new SvidgateError('config_invalid', 'HTTP callers are known on a Unix socket or by TLS');
  }
  const server = createHttpServer();
  const listener: HttpListener = {
    handle: options.handle,
    onFault: options.onFault,
    maxBodyBytes,
    held: new HeldTotal({ name, maxBytes: Math.max(MAX_HELD_BYTES, 4 * maxBodyBytes), logger }),
    logger,
    isStopping: false,
  };
  const connections = new Map<Duplex, HttpConnection>();
  const open = (socket: Socket, peer: Peer, client?: AcceptedClient): void => {
    if (socket.destroyed) return;
    connections.set(
      socket,
      new HttpConnection(listener, { socket, peer, ...(client === undefined ? {} : { client }) }),
    );
    socket.once('close', () => connections.delete(socket));
    server.emit('connection', socket);
    options.onPeer?.(peer);
  };
  serve(server, connections);
  const door = tls === undefined ? open : tlsDoor({ ...options, tls }, open);
  const bound = await listen({ ...options, onConnection: door });
  server.emit('listening'); // starts the watch over its time limits: the sockets are ours, and it never listens itself
  return {
    address: bound.address,
    async stop(graceMs) {
      listener.isStopping = true;
      await drain(connections, graceMs);
      await bound.close();
      server.close(); // ends the watch
    },
  };
}

function createHttpServer(): Server {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    insecureHTTPParser: false,
    requireHostHeader: false, // Node's answer would be a 400 of its own
    noDelay: true,
  });
  server.maxHeadersCount = 0; // a lower number would drop the others in silence; their bytes are bounded
  server.maxRequestsPerSocket = 0; // Node answers the next one with 503
  server.timeout = 0;
  return server;
}

/** Every way in which Node tells of a request, or of what is none. */
function serve(server: Server, connections: ReadonlyMap<Duplex, HttpConnection>): void {
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = connections.get(request.socket);
    if (connection === undefined) request.socket.destroy();
    else connection.take(request, response);
  };
  server.on('request', take);
  server.on('checkContinue', (request, response) => {
    response.writeContinue();
    take(request, response);
  });
  server.on('checkExpectation', take);
  const refuse = (socket: Duplex, why: string): void => {
    const connection = connections.get(socket);
    if (connection === undefined) socket.destroy();
    else connection.refuse(new SvidgateError('invalid_request', why));
  };
  server.on('connect', (_request, socket) => refuse(socket, 'CONNECT is not served'));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const hasGone = error.syscall !== undefined || error.code === 'HPE_INVALID_EOF_STATE';
    if (hasGone) socket.destroy();
    else refuse(socket, whatIsWrong(error));
  });
}

/** Without what was sent. */
function whatIsWrong({ code }: NodeJS.ErrnoException): string {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'the request came too slowly';
  if (code === 'HPE_HEADER_OVERFLOW') return `the headers have more than ${MAX_HEADER_BYTES} bytes`;
  return `not an HTTP/1.1 request (${code ?? 'unknown'})`;
}

type Open = (socket: Socket, peer: Peer, client?: AcceptedClient) => void;

function tlsDoor(
  options: PeerHttpServerOptions & { readonly tls: ServerTls },
  open: Open,
): (socket: Socket, peer: Peer) => void {
  const door = new TlsDoor({
    ...options,
    protocol: 'http/1.1',
    onClient: (socket, client) => open(socket, client.peer, client),
  });
  return (socket, peer) => {
    if (peer.kind === 'tcp') door.take(socket, peer);
    else socket.destroy();
  };
}

/** Time for the last bytes to leave. */
const LAST_BYTES_MS = 100;

async function drain(connections: ReadonlyMap<Duplex, HttpConnection>, graceMs: number): Promise<void> {
  const idle = (): Promise<unknown> => Promise.all([...connections.values()].map((each) => each.leave()));
  await within(graceMs, idle());
  const stopping = new SvidgateError('shutting_down', 'svidgate is stopping');
  for (const connection of connections.values()) connection.failAll(stopping);
  await within(LAST_BYTES_MS, idle());
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([work, limit]);
  clearTimeout(timer);
}
