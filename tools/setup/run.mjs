/**
 * `node tools/setup/run.mjs SCRIPT [ARG…]`: sets up what is missing, then runs a script of this project with Node 24 and
 * the commands of its packages in PATH. What `npm run demo`, `npm test` and the others call.
 */
import { join, resolve } from 'node:path';
import { requirePrerequisites } from './prerequisites.mjs';

requirePrerequisites();
const [script, ...args] = process.argv.slice(2);
if (script === undefined) {
  console.error('usage: node tools/setup/run.mjs SCRIPT [ARG…]');
  process.exit(2);
}
const { setUpOrExit } = await import('./set-up-or-exit.mjs');
const { nodePath, root } = await import('./paths.mjs');
await setUpOrExit({ tests: resolve(root, script).startsWith(join(root, 'tools/test/')) });
const { scriptEnvironment } = await import('./environment.mjs');
const { runNode } = await import('../../bin/run-node.mjs');
process.chdir(root);
runNode(nodePath(), [script, ...args], scriptEnvironment());
