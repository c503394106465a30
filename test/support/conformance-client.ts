import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { commandEnvironment, goBuildFlags, goEnvironment } from '../../tools/setup/environment.mjs';
import { findGo, findPython, inPath } from '../../tools/setup/find-tools.mjs';
import { cacheDir } from '../../tools/setup/paths.mjs';

const exec = promisify(execFile);

/** Where the clients that others wrote are built; may be removed at any time. */
export const CLIENTS_FOLDER = join(cacheDir, 'conformance');

/** The first build loads and compiles everything, beside all other tests. */
export const BUILD_LIMIT_MS = 900_000;

/** A folder of test/conformance. */
export function conformanceFolder(name: string): string {
  return fileURLToPath(new URL(`../conformance/${name}/`, import.meta.url));
}

/** Builds a Go program of test/conformance and gives its path. Go's own cache makes the second time quick. */
export async function buildGo(name: string, target = '.'): Promise<string> {
  const go = findGo();
  if (go === undefined) throw new Error('Go is not installed: run `npm run setup`');
  await mkdir(CLIENTS_FOLDER, { recursive: true });
  const output = join(CLIENTS_FOLDER, `go-${name}`);
  await exec(go.path, ['build', ...goBuildFlags, '-o', output, target], {
    cwd: conformanceFolder(name),
    env: goEnvironment(go.path),
    maxBuffer: 2 ** 24,
  });
  return output;
}

/** Why the Java client cannot be built here, or false. */
export function missingJava(): string | false {
  const missing = ['java', 'javac', 'mvn'].find((name) => inPath(name).length === 0);
  return missing === undefined ? false : `needs ${missing} (on Debian: apt-get install maven default-jdk-headless)`;
}

/** Builds the program of test/conformance/java with Maven; what was loaded once is not loaded again. */
export async function buildJava(): Promise<ClientProgram> {
  const folder = join(CLIENTS_FOLDER, 'java');
  const repository = `-Dmaven.repo.local=${join(cacheDir, 'm2')}`;
  const flags = ['-q', '-B', '-ntp', repository, `-DbuildFolder=${folder}`];
  await exec('mvn', [...flags, 'compile'], { cwd: conformanceFolder('java'), maxBuffer: 2 ** 24 });
  const classPath = `${join(folder, 'classes')}:${join(folder, 'lib')}/*`;
  return { command: 'java', arguments: ['-cp', classPath, 'svidgate.conformance.Main'] };
}

/** Installs what test/conformance/python asks for into a virtual environment of its own. */
export async function buildPython(): Promise<ClientProgram> {
  const folder = join(CLIENTS_FOLDER, 'python');
  const python = join(folder, 'bin/python');
  const found = findPython();
  if ('missing' in found) throw new Error(found.missing);
  const requirements = join(conformanceFolder('python'), 'requirements.txt');
  const flags = ['--require-hashes', '--only-binary=:all:', '--progress-bar=off', '--no-input', '-r', requirements];
  const env = commandEnvironment();
  await exec(found.path, ['-I', '-B', '-m', 'venv', folder], { env });
  await exec(python, ['-I', '-B', '-m', 'pip', 'install', ...flags], { env, maxBuffer: 2 ** 24 });
  return { command: python, arguments: ['-I', '-B', join(conformanceFolder('python'), 'client.py')] };
}

/** Why the Rust client cannot be built here, or false. */
export function missingRust(): string | false {
  // rustup leaves a `cargo` in the path that works only with a toolchain.
  const { status } = spawnSync('cargo', ['--version'], { stdio: 'ignore' });
  return status === 0 ? false : 'needs cargo with a toolchain (https://rustup.rs)';
}

/** Builds the program of test/conformance/rust with the versions of its Cargo.lock. */
export async function buildRust(): Promise<ClientProgram> {
  const target = join(CLIENTS_FOLDER, 'rust');
  const env = { ...process.env, CARGO_TARGET_DIR: target };
  await exec('cargo', ['build', '--locked', '--quiet'], { cwd: conformanceFolder('rust'), env, maxBuffer: 2 ** 24 });
  return { command: join(target, 'debug/conformance') };
}

/** How to start a client: what comes before its own arguments. */
export interface ClientProgram {
  readonly command: string;
  readonly arguments?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** One answer of a client: a line of JSON. */
export type Answer = Readonly<Record<string, unknown>>;

/** A client that goes on until it is disposed of. */
export interface RunningClient extends AsyncDisposable {
  /** The next line; rejects when the client ends first. */
  next(): Promise<Answer>;
}

/** Runs a command of a client to its end and gives its last line. Rejects with its errors when it prints none. */
export async function askClient(program: ClientProgram, socket: string, ...args: readonly string[]): Promise<Answer> {
  await using client = startClient(program, socket, ...args);
  return await client.next();
}

/** @param socket `unix:PATH` */
export function startClient(program: ClientProgram, socket: string, ...args: readonly string[]): RunningClient {
  const child = spawn(program.command, [...(program.arguments ?? []), ...args], {
    env: { ...process.env, ...program.env, SPIFFE_ENDPOINT_SOCKET: socket.replace(/^unix:/, 'unix://') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (errors += piece));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async next() {
      const line = await lines.next();
      if (line.done === true) throw new Error(`${program.command} ${args[0]} ended: ${errors.slice(-2000)}`);
      return JSON.parse(line.value) as Answer;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
