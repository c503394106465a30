import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { goBuildFlags, goEnvironment } from '../../tools/setup/environment.mjs';
import { findGo } from '../../tools/setup/find-tools.mjs';
import { cacheDir } from '../../tools/setup/paths.mjs';

const run = promisify(execFile);

/**
 * Builds a Go main package and gives the program's path. Go's caches are those of set-up; a second build takes well under a
 * second. Rejects with the compiler's text.
 */
export async function buildGoProgram(folder: string): Promise<string> {
  const go = findGo();
  if (go === undefined) throw new Error('needs Go: `npm run setup` brings one');
  const programs = join(cacheDir, 'go-programs');
  await mkdir(programs, { recursive: true });
  const program = join(programs, basename(folder));
  // Not the temporary folder of set-up, which another set-up removes.
  const env = { ...goEnvironment(go.path), GOTMPDIR: programs };
  await run(go.path, ['build', ...goBuildFlags, '-o', program, '.'], { cwd: folder, env });
  return program;
}
