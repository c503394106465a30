import { chmod } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { describeError, SvidgateError, type Logger, type Metrics } from '../core/index.ts';
import type { IdentifyPeer, Peer } from './peer.ts';
import { prepareSocketPath } from './socket-file.ts';

/** Where to listen: a Unix socket with its file mode, or a TCP host and port (0: the kernel chooses). */
export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

export interface ConnectionListener {
  /** `unix:PATH` or `HOST:PORT` with the port that was bound. */
  readonly address: string;
  /** Stops accepting, ends every connection that is left and removes the socket file. */
  close(): Promise<void>;
}

export interface ConnectionListenerOptions {
  /** Its name in metrics and log lines. */
  readonly name: string;
  readonly address: ListenAddress;
  readonly identify: IdentifyPeer;
  /** Takes the connection over. The peer is known, and no byte has been read. */
  readonly onConnection: (socket: Socket, peer: Peer) => void;
  /** More connections than this are closed at once. Default 4096. */
  readonly maxConnections?: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

let lastConnectionId = 0;

/** Listens and tells who connected. Throws `already_running`, `address_in_use` or `file_unreadable`. */
export async function listen(options: ConnectionListenerOptions): Promise<ConnectionListener> {
  const { address, logger, metrics, name } = options;
  if (address.kind === 'unix') await prepareSocketPath(address.path);
  const open = new Set<Socket>();
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    socket.on('error', (error) => logger.debug({ reason: describeError(error) }, 'connection failed'));
    const peer = identifyConnection(socket, options);
    if (peer === undefined) return void socket.destroy();
    open.add(socket);
    metrics.gauge('svidgate_connections', { listener: name }, open.size);
    socket.once('close', () => {
      open.delete(socket);
      metrics.gauge('svidgate_connections', { listener: name }, open.size);
      if (peer.kind === 'unix') peer.process.close();
    });
    options.onConnection(socket, peer);
  });
  server.maxConnections = options.maxConnections ?? 4096;
  server.on('drop', () => logger.warn({ limit: server.maxConnections, address: name }, 'connection refused: too many'));
  await bind(server, address);
  if (address.kind === 'unix') await chmod(address.path, address.mode);
  return {
    address: boundAddress(server, address),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

function identifyConnection(socket: Socket, options: ConnectionListenerOptions): Peer | undefined {
  lastConnectionId += 1;
  const connectionId = lastConnectionId;
  if (options.address.kind === 'tcp') {
    return { kind: 'tcp', connectionId, address: `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}` };
  }
  try {
    return { kind: 'unix', connectionId, process: options.identify(fileDescriptorOf(socket)) };
  } catch (error) {
    options.metrics.count('svidgate_attestations_total', { result: 'no_credentials' });
    options.logger.warn(
      { connection_id: connectionId, reason: describeError(error) },
      'caller could not be identified',
    );
    return undefined;
  }
}

/** Node has no public way to the descriptor; it must be read before http2 takes the handle over. */
function fileDescriptorOf(socket: Socket): number {
  const handle = (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle;
  if (typeof handle?.fd !== 'number' || handle.fd < 0)
    throw new Error('the connection was closed before it was looked at');
  return handle.fd;
}

function bind(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const place = address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`;
      const code = error.code === 'EACCES' ? 'file_unreadable' : 'address_in_use';
      reject(new SvidgateError(code, `cannot listen on ${place} (${error.code ?? error.message})`, { cause: error }));
    });
    server.listen(
      address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port },
      resolve,
    );
  });
}

function boundAddress(server: Server, address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const bound = server.address();
  return `${address.host}:${bound !== null && typeof bound === 'object' ? bound.port : address.port}`;
}
