import { link, lstat, mkdir, rename, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { dirname } from 'node:path';
import { SvidgateError } from '../core/index.ts';

/**
 * Makes the path free for a Unix socket. A socket that nobody answers on is removed; one that answers is
 * `already_running`; anything else at the path is `address_in_use` and stays.
 */
export async function prepareSocketPath(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 }).catch(cannotUse(path));
  const found = await lookAt(path).catch(cannotUse(path));
  if (found === undefined) return;
  if (!found.isSocket) {
    throw new SvidgateError('address_in_use', `${path} exists and is not a socket: remove it or choose another path`);
  }
  const refusal = await tryConnect(path);
  if (refusal === 'ENOENT') return; // its owner has just removed it
  if (refusal === undefined) throw inUse(path);
  if (refusal !== 'ECONNREFUSED') {
    throw new SvidgateError('address_in_use', `socket ${path} is there and cannot be tried (${refusal})`);
  }
  if (!(await removeStale(path, found.identity).catch(cannotUse(path)))) throw inUse(path);
}

interface FileThere {
  readonly isSocket: boolean;
  /** Stays when the file is renamed. Inode numbers alone are used again at once. */
  readonly identity: string;
}

async function lookAt(path: string): Promise<FileThere | undefined> {
  try {
    const found = await lstat(path, { bigint: true });
    return { isSocket: found.isSocket(), identity: `${found.dev}:${found.ino}:${found.mtimeNs}` };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Another process that starts at the same moment may have removed the stale socket and made its own since we looked, and
 * unlink would take that away. So the file is moved aside first, and put back when it is another one; then false.
 */
async function removeStale(path: string, identity: string): Promise<boolean> {
  const aside = `${path}.${process.pid}.stale`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (isMissing(error)) return true;
    throw error;
  }
  const isStale = (await lookAt(aside))?.identity === identity;
  try {
    if (!isStale) await link(aside, path);
  } finally {
    await unlink(aside);
  }
  return isStale;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function inUse(path: string): SvidgateError {
  return new SvidgateError('already_running', `socket ${path} is in use: another process answers on it`);
}

function cannotUse(path: string): (cause: unknown) => never {
  return (cause) => {
    throw new SvidgateError('file_unreadable', `socket ${path} cannot be made there`, { cause });
  };
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
