import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { tempFolder } from './temp-folder.ts';

/** A mount of our own, seen by one child process and gone with it; without root in a user namespace. */
const NAMESPACE = process.geteuid?.() === 0 ? ['--mount'] : ['--mount', '--map-root-user'];
const MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1"';

/** Why no disk of our own can be mounted here; false when it can. For the `skip` of a test. */
export const noSmallDisk: string | false =
  spawnSync('unshare', [...NAMESPACE, 'sh', '-c', MOUNT, '64k', '/tmp']).status === 0
    ? false
    : 'needs the right to mount a file system (root, or user namespaces)';

/**
 * Runs a TypeScript program with the path of a file system that holds `bytes` as its argument. Rejects with what it
 * printed when its exit code is not 0.
 */
export async function runOnSmallDisk(program: string, bytes: number): Promise<void> {
  await using folder = await tempFolder();
  const command = `${MOUNT} && exec "$2" "$3" "$1"`;
  const args = [...NAMESPACE, 'sh', '-c', command, String(bytes), folder.path, process.execPath, program];
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}:\n${output}${errors}`);
}
