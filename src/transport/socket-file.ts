import { lstat, mkdir, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { dirname } from 'node:path';
import { SvidgateError } from '../core/index.ts';

/**
 * Makes the path free for a Unix socket. A socket that nobody answers on is removed; one that answers is
 * `already_running`; anything else at the path is `address_in_use` and stays.
 */
export async function prepareSocketPath(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new SvidgateError('file_unreadable', `socket ${path} cannot be looked at`, { cause: error });
  });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new SvidgateError('address_in_use', `${path} exists and is not a socket: remove it or choose another path`);
  }
  const refusal = await tryConnect(path);
  if (refusal === undefined) {
    throw new SvidgateError('already_running', `socket ${path} is in use: another process answers on it`);
  }
  if (refusal !== 'ECONNREFUSED') {
    throw new SvidgateError('address_in_use', `socket ${path} is there and cannot be tried (${refusal})`);
  }
  await unlink(path);
}

/** The error code of a failed connect, or undefined when somebody answered. */
function tryConnect(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}
