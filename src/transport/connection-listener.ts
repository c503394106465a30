import { createServer, type Socket } from 'node:net';
import { describeError, type Logger, type Metrics } from '../core/index.ts';
import { bind, type ListenAddress } from './bind.ts';
import type { IdentifyPeer, Peer } from './peer.ts';

export interface ConnectionListener {
  /** `unix:PATH` or `HOST:PORT` with the port that was bound. */
  readonly address: string;
  /** Stops accepting, ends every connection that is left and removes the socket file and its aliases. */
  close(): Promise<void>;
}

export interface ConnectionListenerOptions {
  /** Its name in metrics and log lines. */
  readonly name: string;
  readonly address: ListenAddress;
  readonly identify: IdentifyPeer;
  /** Takes the connection over. The peer is known, and no byte has been read. */
  readonly onConnection: (socket: Socket, peer: Peer) => void;
  /** More connections than this are closed at once, and of one user more than half as many. Default 4096. */
  readonly maxConnections?: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

let lastConnectionId = 0;

/** Listens and tells who connected. Throws `already_running`, `address_in_use` or `file_unreadable`. */
export async function listen(options: ConnectionListenerOptions): Promise<ConnectionListener> {
  const { address, logger, metrics, name } = options;
  const maxConnections = options.maxConnections ?? 4096;
  const open = new Set<Socket>();
  const users = new UserCounts();
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', (error) => logger.debug({ reason: describeError(error) }, 'connection failed'));
    const peer = identifyConnection(socket, options);
    if (peer === undefined) return void socket.destroy();
    const uid = peer.kind === 'unix' ? peer.process.uid : undefined;
    if (users.of(uid) >= maxConnections / 2) {
      if (peer.kind === 'unix') peer.process.close();
      logger.warn(
        { ...(uid === undefined ? {} : { caller_uid: uid }), limit: maxConnections / 2, address: name },
        'connection refused: too many of one user',
      );
      return void socket.destroy();
    }
    users.add(uid, 1);
    open.add(socket);
    metrics.gauge('svidgate_connections', { listener: name }, open.size);
    socket.once('close', () => {
      open.delete(socket);
      users.add(uid, -1);
      metrics.gauge('svidgate_connections', { listener: name }, open.size);
      if (peer.kind === 'unix') peer.process.close();
    });
    options.onConnection(socket, peer);
  });
  server.maxConnections = maxConnections;
  server.on('drop', () => logger.warn({ limit: server.maxConnections, address: name }, 'connection refused: too many'));
  const bound = await bind(server, address).catch((error: unknown) => {
    for (const socket of open) socket.destroy(); // who came before the aliases could not be made
    throw error;
  });
  return {
    address: bound.address,
    async close() {
      bound.aliases.remove();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** Connections by user, so that no user can keep all others out. Without a user (TCP) none are counted. */
class UserCounts {
  readonly #counts = new Map<number, number>();

  of(uid: number | undefined): number {
    return uid === undefined ? 0 : (this.#counts.get(uid) ?? 0);
  }

  add(uid: number | undefined, by: number): void {
    if (uid === undefined) return;
    const count = this.of(uid) + by;
    if (count === 0) this.#counts.delete(uid);
    else this.#counts.set(uid, count);
  }
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
