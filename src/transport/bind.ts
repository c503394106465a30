import { chmodSync } from 'node:fs';
import type { Server } from 'node:net';
import { SvidgateError } from '../core/index.ts';
import { linkSocketAliases, type SocketAliases } from './socket-aliases.ts';
import { prepareSocketPath } from './socket-file.ts';

/**
 * Where to listen: a Unix socket with its file mode, or a TCP host and port (0: the kernel chooses). `aliases` are further
 * file names of the socket in its folder.
 */
export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number; readonly aliases?: readonly string[] }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/**
 * Connections that wait to be accepted: as many as may be open. One more is refused on a Unix socket at once (EAGAIN), and
 * with Node's default of 511 a host that starts all of its workloads together would see that. The kernel bounds it by
 * net.core.somaxconn, 4096 by default.
 */
const BACKLOG = 4096;

export interface Binding {
  /** `unix:PATH` or `HOST:PORT` with the port that was bound. */
  readonly address: string;
  /** Links to the socket, to be removed before the server is closed. */
  readonly aliases: SocketAliases;
}

const NO_ALIASES: SocketAliases = { remove: () => undefined };

/** Binds a server. Throws `already_running`, `address_in_use` or `file_unreadable`; then the server does not listen. */
export async function bind(server: Server, address: ListenAddress): Promise<Binding> {
  if (address.kind === 'unix') await prepareSocketPath(address.path);
  await startListening(server, address);
  if (address.kind === 'unix') {
    const { path, aliases = [] } = address;
    return { address: `unix:${path}`, aliases: await linkOrClose(server, path, aliases) };
  }
  const bound = server.address();
  const port = bound !== null && typeof bound === 'object' ? bound.port : address.port;
  return { address: `${address.host}:${port}`, aliases: NO_ALIASES };
}

async function linkOrClose(server: Server, path: string, names: readonly string[]): Promise<SocketAliases> {
  try {
    return await linkSocketAliases(path, names);
  } catch (error) {
    server.close();
    throw error;
  }
}

function startListening(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const shown = address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`;
      const code = error.code === 'EACCES' ? 'file_unreadable' : 'address_in_use';
      reject(new SvidgateError(code, `cannot listen on ${shown} (${error.code ?? error.message})`, { cause: error }));
    };
    server.once('error', onError);
    const place = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
    server.listen({ ...place, backlog: BACKLOG }, () => {
      server.off('error', onError);
      resolve();
    });
    if (address.kind === 'unix' && server.listening) setMode(server, address, reject);
  });
}

/**
 * The socket's file is there as soon as `listen` returns, and gets its mode in the same turn. Another process that starts
 * on the same path may have moved it aside (`prepareSocketPath`): then the path is not ours, and nothing stays open.
 */
function setMode(server: Server, { path, mode }: { path: string; mode: number }, reject: (error: Error) => void): void {
  try {
    chmodSync(path, mode);
  } catch (cause) {
    server.close();
    reject(new SvidgateError('already_running', `socket ${path} is in use: another process took it`, { cause }));
  }
}
