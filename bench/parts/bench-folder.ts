import { constants, rmSync } from 'node:fs';
import { copyFile, link, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { killLoggedChildren } from '../../test/support/logged-child.ts';

/** A folder for sockets, configuration and logs of one run; removed also when the process is told to end. */
export interface BenchFolder extends AsyncDisposable {
  readonly path: string;
}

const folders = new Set<string>();

/** Its path is short enough for Unix sockets, of which the kernel takes 107 bytes. */
export async function benchFolder(): Promise<BenchFolder> {
  const base = tmpdir().length <= 70 ? tmpdir() : '/tmp';
  const path = await realpath(await mkdtemp(join(base, 'svidgate-bench-')));
  if (!process.listeners('exit').includes(removeAll)) process.on('exit', removeAll);
  folders.add(path);
  await Promise.all(['run', 'log', 'policy', 'bin'].map((name) => mkdir(join(path, name), { mode: 0o700 })));
  return {
    path,
    async [Symbol.asyncDispose]() {
      folders.delete(path);
      await rm(path, { recursive: true, force: true });
    },
  };
}

/** This very Node under a path of its own beneath `folder`: what `unix:path` sees, so that processes can be told apart. */
export async function linkNode(folder: string, name: string): Promise<string> {
  const target = join(folder, 'bin', name);
  try {
    await link(process.execPath, target);
  } catch {
    await copyFile(process.execPath, target, constants.COPYFILE_FICLONE);
  }
  return target;
}

function removeAll(): void {
  killLoggedChildren();
  for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 3 });
}
