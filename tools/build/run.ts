/**
 * `npm run build`: JavaScript and declarations for the package, in dist/.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/paths.mjs';

const dist = join(root, 'dist');
const generated = join(root, 'src/proto/generated');

rmSync(dist, { recursive: true, force: true });
const { status, error } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (error !== undefined) throw error;
if (status !== 0) process.exit(status ?? 1);
// The compiler takes no JavaScript, and the generated message code is JavaScript with declarations.
if (existsSync(generated)) cpSync(generated, join(dist, 'proto/generated'), { recursive: true });
if (!existsSync(join(dist, 'cli/main.js'))) {
  console.error('npm run build: dist/cli/main.js is missing');
  process.exit(1);
}
console.log('npm run build: dist/ is ready');
