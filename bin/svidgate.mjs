#!/usr/bin/env node
/**
 * The command `svidgate`: finds a Node that is new enough and runs the program with it, from sources in a clone, from
 * dist/ in the package. Runs itself on Node 20 and newer.
 */
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from './node-flags.mjs';
import { runNode } from './run-node.mjs';

const OLDEST_NODE = 24;

const root = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))));

/** @returns {string | undefined} */
function findNode() {
  if (Number(process.versions.node.split('.')[0]) >= OLDEST_NODE) return process.execPath;
  const cloned = join(root, `tools/node/node_modules/node-linux-${process.arch}/bin/node`);
  return existsSync(cloned) ? cloned : undefined;
}

/** @returns {string | undefined} */
function findProgram() {
  return ['src/cli/main.ts', 'dist/cli/main.js'].map((file) => join(root, file)).find((path) => existsSync(path));
}

/**
 * @param {string} message
 * @returns {never}
 */
function refuse(message) {
  process.stderr.write(`svidgate: ${message}\n`);
  process.exit(2);
}

const inClone = existsSync(join(root, 'tools/setup/setup.mjs'));
const node = findNode();
const program = findProgram();
if (node === undefined) {
  refuse(
    `needs Node ${OLDEST_NODE} or newer: found ${process.versions.node}` +
      (inClone ? `; run \`npm run setup\` in ${root} to have it there` : ''),
  );
} else if (program === undefined) {
  refuse(`${root} holds no program${inClone ? '' : '; install svidgate again'}`);
} else if (inClone && !existsSync(join(root, 'node_modules/.package-lock.json'))) {
  refuse(`its packages are not installed; run \`npm run setup\` in ${root}`);
} else {
  runNode(node, [...NODE_FLAGS, program, ...process.argv.slice(2)], process.env);
}
