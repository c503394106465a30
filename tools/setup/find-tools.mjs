/**
 * Finds what set-up needs of the machine: npm, Python and Go. A tool that is not usable is reported in the form
 * "needs X: found Y".
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync, realpathSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { commandEnvironment, goEnvironment } from './environment.mjs';
import { clonedGoPath, root } from './paths.mjs';

/** The oldest Python that the packages of tools/python run on. */
const OLDEST_PYTHON = '3.10';

/**
 * @typedef {{ path: string, version: string }} Tool
 * @typedef {{ missing: string }} Missing
 */

/**
 * All programs of a name in PATH, in its order.
 * @param {string} name
 * @returns {string[]}
 */
export function inPath(name) {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((dir) => isAbsolute(dir))
    .map((dir) => join(dir, name))
    .filter((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/**
 * True when a version is not older than another; numbers between dots are compared as numbers.
 * @param {string} version
 * @param {string} oldest
 * @returns {boolean}
 */
export function isAtLeast(version, oldest) {
  const have = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  const want = oldest.split('.').map((part) => Number.parseInt(part, 10) || 0);
  for (const [index, part] of want.entries()) {
    const own = have[index] ?? 0;
    if (own !== part) return own > part;
  }
  return true;
}

/** @returns {{ path: string } | Missing} */
export function findNpm() {
  const path = inPath('npm')[0];
  return path === undefined ? { missing: 'needs npm: found none' } : { path };
}

/**
 * A Python that can make virtual environments with pip in them.
 * @returns {Tool | Missing}
 */
export function findPython() {
  const wanted = `needs Python ${OLDEST_PYTHON} or newer with venv and pip`;
  const program = 'import sys; print("%d.%d.%d" % sys.version_info[:3]); import venv, ensurepip';
  /** @type {string | undefined} */
  let found;
  for (const path of [...inPath('python3'), ...inPath('python')]) {
    const { status, stdout, stderr } = spawnSync(path, ['-I', '-B', '-c', program], {
      encoding: 'utf8',
      env: commandEnvironment(),
    });
    const version = (stdout ?? '').trim();
    if (version === '') continue;
    if (!isAtLeast(version, OLDEST_PYTHON)) {
      found ??= `${path}, which is ${version}`;
    } else if (status !== 0) {
      const module = /No module named '([^']+)'/.exec(stderr)?.[1] ?? 'venv';
      found ??= `${path} ${version} without its module ${module} (on Debian and Ubuntu: apt-get install python3-venv)`;
    } else {
      return { path, version };
    }
  }
  return { missing: `${wanted}: found ${found ?? 'none'}` };
}

/**
 * The version that tools/rego-compiler/go.mod asks for.
 * @returns {string}
 */
export function wantedGoVersion() {
  const text = readFileSync(join(root, 'tools/rego-compiler/go.mod'), 'utf8');
  return /^go\s+(\d+(?:\.\d+)*)/m.exec(text)?.[1] ?? '0';
}

/**
 * The machine's own Go, where it is new enough for the Rego compiler.
 * @returns {Tool | undefined}
 */
export function findMachineGo() {
  for (const path of inPath('go')) {
    const tool = usableGo(path);
    if (tool !== undefined) return tool;
  }
  return undefined;
}

/**
 * A Go that can build the Rego compiler: the machine's own, else the one in the virtual environment.
 * @returns {Tool | undefined}
 */
export function findGo() {
  const cloned = clonedGoPath();
  return findMachineGo() ?? (cloned === undefined ? undefined : usableGo(cloned));
}

/**
 * @param {string} path
 * @returns {Tool | undefined}
 */
function usableGo(path) {
  // Its real place: gofmt is beside it there, and not always beside the link in PATH.
  const real = realpathSync(path);
  const { stdout } = spawnSync(real, ['version'], { encoding: 'utf8', env: goEnvironment(real) });
  const version = /\bgo(\d+(?:\.\d+)*)/.exec(stdout ?? '')?.[1];
  return version !== undefined && isAtLeast(version, wantedGoVersion()) ? { path: real, version } : undefined;
}
