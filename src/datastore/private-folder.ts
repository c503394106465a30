import { constants } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { SvidgateError } from '../core/index.ts';

/**
 * Opens or makes a folder of our own user with mode 0700. The data directory around it may be open to others, as volumes
 * often are. Throws `file_unreadable` when it belongs to another user: who owns it can put files of their own there,
 * whatever their modes.
 */
export async function openPrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    // Through a descriptor: a symbolic link put there by others would have us change some other folder.
    await using folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    const { uid, mode } = await folder.stat();
    if (uid !== process.geteuid?.()) throw new Error(`it belongs to user ${uid}`);
    if ((mode & 0o077) !== 0) await folder.chmod(0o700);
  } catch (error) {
    throw new SvidgateError('file_unreadable', `folder ${path} cannot be kept private`, { cause: error });
  }
}
