/**
 * The environment that set-up's commands run in: the user's own, so that registries, proxies and certificates are as
 * they set them, but with every cache and temporary file inside the clone.
 */
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheDir, nodePath, root } from './paths.mjs';

/** Where commands put their temporary files. */
export const temporaryDir = join(cacheDir, 'tmp');

/**
 * PATH with the project's Node before the machine's.
 * @param {string} [path] the PATH to put it before
 * @returns {string}
 */
function pathWithNode(path = process.env['PATH'] ?? '') {
  return `${dirname(nodePath())}:${path}`;
}

/**
 * For the scripts of the project: its Node and the commands of its packages first in PATH.
 * @returns {NodeJS.ProcessEnv}
 */
export function scriptEnvironment() {
  const bin = join(root, 'node_modules/.bin');
  return { ...process.env, PATH: `${bin}:${pathWithNode()}` };
}

/**
 * For npm, Node and Python.
 * @returns {NodeJS.ProcessEnv}
 */
export function commandEnvironment() {
  mkdirSync(temporaryDir, { recursive: true });
  const env = {
    ...process.env,
    PATH: pathWithNode(),
    TMPDIR: temporaryDir,
    npm_config_cache: join(cacheDir, 'npm'),
    npm_config_update_notifier: 'false',
    PIP_CACHE_DIR: join(cacheDir, 'pip'),
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    // A user's default of `--user` or `--target` would install outside the virtual environment.
    PIP_USER: '0',
    PYTHONDONTWRITEBYTECODE: '1',
  };
  for (const name of ['PIP_TARGET', 'PIP_PREFIX', 'PYTHONHOME', 'PYTHONPATH', 'VIRTUAL_ENV', 'npm_config_prefix']) {
    Reflect.deleteProperty(env, name);
  }
  return env;
}

/**
 * Flags for the commands of Go that build. Flags rather than GOFLAGS, which would hide the user's own; read-only modules
 * would keep `rm -r` of the clone from working.
 */
export const goBuildFlags = ['-mod=readonly', '-modcacherw', '-buildvcs=false', '-trimpath'];

/**
 * For the go command: modules, build cache and telemetry in the clone, never another toolchain than the given one.
 * @param {string} go its path; its folder comes first in PATH
 * @returns {NodeJS.ProcessEnv}
 */
export function goEnvironment(go) {
  const env = commandEnvironment();
  const userConfig = process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config');
  // GOROOT in the environment belongs to the machine's Go and would mislead another one.
  Reflect.deleteProperty(env, 'GOROOT');
  return {
    ...env,
    PATH: `${dirname(go)}:${env['PATH']}`,
    GOENV: process.env['GOENV'] || join(userConfig, 'go/env'),
    XDG_CONFIG_HOME: join(cacheDir, 'config'),
    GOPATH: join(cacheDir, 'go'),
    GOMODCACHE: join(cacheDir, 'go/pkg/mod'),
    GOCACHE: join(cacheDir, 'go-build'),
    GOTOOLCHAIN: 'local',
    GOWORK: 'off',
  };
}
