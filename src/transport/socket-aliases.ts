import { readlinkSync, unlinkSync } from 'node:fs';
import { readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import { prepareSocketPath } from './socket-file.ts';

export interface SocketAliases {
  /** Removes those that still lead to the socket. Before the socket closes: afterwards they may be another process's. */
  remove(): void;
}

/** Somebody who changes the place again and again while we look does not keep us there. */
const MAX_TRIES = 10;

/**
 * Makes links NAME → socket in the socket's folder, relative, so that the folder can be mounted elsewhere. A link to the
 * socket that is there is taken over, and a socket that nobody answers on is replaced. One that answers is
 * `already_running`, and anything else `address_in_use`; then no link is made, and what was there stays.
 */
export async function linkSocketAliases(path: string, names: readonly string[]): Promise<SocketAliases> {
  const links: string[] = [];
  const remove = (): void => links.forEach((link) => removeOwn(link, basename(path)));
  try {
    for (const name of names) {
      const link = join(dirname(path), name);
      await makeLink(link, path);
      links.push(link);
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { remove };
}

async function makeLink(link: string, path: string): Promise<void> {
  const target = basename(path);
  for (let tries = 1; ; tries += 1) {
    const found = await readTarget(link);
    if (found === target) return;
    if (found !== undefined && resolve(dirname(link), found) === path) return replaceLink(link, target);
    if (found !== undefined) {
      throw new SvidgateError(
        'address_in_use',
        `${link} exists and is a link to ${found}: remove it, or leave it out of the aliases`,
      );
    }
    await prepareSocketPath(link);
    try {
      return await symlink(target, link); // fails when something came there since
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || tries === MAX_TRIES) throw cannotLink(link, error);
    }
  }
}

/** The text of the link, or undefined when there is none. */
async function readTarget(link: string): Promise<string | undefined> {
  try {
    return await readlink(link);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'EINVAL') return undefined;
    throw cannotLink(link, error);
  }
}

/** The link is never missing in between. */
async function replaceLink(link: string, target: string): Promise<void> {
  const aside = `${link}.${process.pid}.new`;
  try {
    await rm(aside, { force: true }); // of a process of this number that was killed
    await symlink(target, aside);
    await rename(aside, link);
  } catch (error) {
    await rm(aside, { force: true });
    throw cannotLink(link, error);
  }
}

function removeOwn(link: string, target: string): void {
  try {
    if (readlinkSync(link) === target) unlinkSync(link);
  } catch {
    // It is gone, or no link of ours any more.
  }
}

function cannotLink(link: string, cause: unknown): SvidgateError {
  return new SvidgateError('file_unreadable', `${link} cannot be made a link to the socket`, { cause });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
