/**
 * `npm test [-- OPTION… FILE|FOLDER…]`: runs the test files beneath test/, or the given ones, with node's test runner.
 * Options go to node. The last line of the output is node's own closing summary, the exit code its own.
 */
import { existsSync, globSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { runNode } from '../../bin/run-node.mjs';
import { cacheDir, nodePath, root } from '../setup/paths.mjs';

/** A test that hangs fails after this, and not with the patience of whoever waits for the run. */
const TEST_TIMEOUT_MS = 300_000;

function testFiles(args: readonly string[]): string[] {
  const roots = args.length > 0 ? args : ['test'];
  return roots.flatMap((path) => {
    if (existsSync(path) && statSync(path).isDirectory()) {
      return globSync(join(path, '**/*.test.ts'), { exclude: ['**/node_modules/**'] }).sort();
    }
    return [path];
  });
}

const args = process.argv.slice(2);
const options = args.filter((arg) => arg.startsWith('-'));
const files = testFiles(args.filter((arg) => !arg.startsWith('-')));
if (files.length === 0) {
  console.error('npm test: found no test files');
  process.exit(1);
}
runNode(
  nodePath(),
  [
    '--test',
    '--no-wasm-code-gc', // as the server: bin/node-flags.mjs
    `--test-concurrency=${availableParallelism() + 1}`, // many wait for Envoys, time-outs and disks
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    `--test-reporter=${join(root, 'tools/test/reporter.ts')}`,
    '--test-reporter-destination=stdout',
    `--import=${pathToFileURL(join(root, 'tools/test/leftovers.ts')).href}`,
    ...options,
    ...files,
  ],
  // For hundreds of processes that load the same modules.
  { NODE_COMPILE_CACHE: join(cacheDir, 'node-compile'), ...process.env },
);
