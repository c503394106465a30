/**
 * `npm run check`: types, lint, format, layers, generated files, Go. All are run, each with one line and its time; what a
 * failed one printed comes at the end. Exit code 1 if any failed.
 */
import { spawn } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { goBuildFlags, goEnvironment } from '../setup/environment.mjs';
import { findGo } from '../setup/find-tools.mjs';
import { nodePath, root } from '../setup/paths.mjs';
import { formatElapsed } from '../setup/progress.mjs';
import { layerViolations } from './layers.ts';

/** What a check found: nothing, or the text to show. */
interface Outcome {
  readonly passed: boolean;
  readonly output: string;
  /** Why it was not run. */
  readonly skipped?: string;
}

interface Check {
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

const CODE = ['src', 'test', 'bench', 'tools', 'bin'].filter((path) => existsSync(join(root, path)));
const bin = (name: string) => join(root, 'node_modules/.bin', name);

async function command(
  file: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<Outcome> {
  return await new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    const collect = (chunk: Buffer) => (output += chunk.toString());
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', reject);
    child.once('close', (code) => resolve({ passed: code === 0, output }));
  });
}

/** All in turn, however they end. */
async function allOf(...outcomes: (() => Promise<Outcome>)[]): Promise<Outcome> {
  const results: Outcome[] = [];
  for (const outcome of outcomes) results.push(await outcome());
  return { passed: results.every(({ passed }) => passed), output: results.map(({ output }) => output).join('') };
}

async function layers(): Promise<Outcome> {
  const files = globSync('src/**/*.ts', { cwd: root })
    .filter((path) => !path.startsWith('src/proto/generated/'))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
  const violations = layerViolations(files);
  const lines = violations.map(({ file, line, message }) => `${file}:${line}: ${message}\n`);
  return { passed: lines.length === 0, output: lines.join('') };
}

async function generated(): Promise<Outcome> {
  const generators = ['tools/protos/generate.ts', 'tools/docs/generate.ts'].filter((path) =>
    existsSync(join(root, path)),
  );
  return await allOf(...generators.map((path) => async () => await command(nodePath(), [path, '--check'])));
}

async function go(): Promise<Outcome> {
  const found = findGo();
  if (found === undefined) return { passed: true, output: '', skipped: 'no Go at hand' };
  const cwd = join(root, 'tools/rego-compiler');
  const env = goEnvironment(found.path);
  return await allOf(
    async () => {
      const { passed, output } = await command(join(found.path, '../gofmt'), ['-l', '.'], { cwd, env });
      const list = output
        .trim()
        .split('\n')
        .filter((line) => line !== '');
      return {
        passed: passed && list.length === 0,
        output: list.map((file) => `gofmt: ${relative(root, join(cwd, file))}\n`).join(''),
      };
    },
    // For the platform and with the flags that set-up builds with: its build cache then has all dependencies.
    async () =>
      await command(found.path, ['vet', ...goBuildFlags, './...'], {
        cwd,
        env: { ...env, GOOS: 'wasip1', GOARCH: 'wasm' },
      }),
  );
}

const checks: readonly Check[] = [
  {
    name: 'types',
    run: async () =>
      await allOf(
        async () => await command(bin('tsc'), ['-p', 'tsconfig.json']),
        async () => await command(bin('tsc'), ['-p', 'tools/setup/tsconfig.json']),
      ),
  },
  {
    name: 'lint',
    run: async () => await command(bin('oxlint'), ['--type-aware', '--deny-warnings', '--format=unix', ...CODE]),
  },
  { name: 'format', run: async () => await command(bin('prettier'), ['--check', '--log-level=warn', '.']) },
  { name: 'layers', run: layers },
  { name: 'generated files', run: generated },
  { name: 'go', run: go },
];

const failures: { name: string; output: string }[] = [];
for (const { name, run } of checks) {
  const started = performance.now();
  const outcome: Outcome = await run().catch((error: unknown) => ({ passed: false, output: `${String(error)}\n` }));
  const word = outcome.skipped === undefined ? (outcome.passed ? 'ok' : 'FAILED') : `not run: ${outcome.skipped}`;
  console.log(`check: ${name.padEnd(16)} ${word} (${formatElapsed(performance.now() - started)})`);
  if (!outcome.passed) failures.push({ name, output: outcome.output });
}
for (const { name, output } of failures) console.log(`\n--- ${name} ---\n${output.trimEnd()}`);
console.log(
  failures.length === 0 ? 'check: all passed' : `\ncheck: ${failures.map(({ name }) => name).join(', ')} failed`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
