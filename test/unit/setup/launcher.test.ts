import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { root } from '../../../tools/setup/paths.mjs';

const PROGRAM = `
const [what, value] = process.argv.slice(2);
if (what === 'exit') process.exit(Number(value));
if (what === 'die') process.kill(process.pid, value);
if (what === 'eval') { try { eval('1'); console.log('ran'); } catch (error) { console.log(error.name); } }
if (what === 'warn') { const { WASI } = await import('node:wasi'); new WASI({ version: 'preview1' }); }
if (what === 'arguments') console.log(JSON.stringify(process.argv.slice(2)));
if (what === 'wait') {
  process.once('SIGTERM', () => { console.log('asked to end'); process.exit(5); });
  setInterval(() => {}, 1000);
  console.log('waiting');
}
`;

interface Package extends Disposable {
  readonly bin: string;
}

/** The launcher beside a program, installed as in the package or in a clone. */
function install(program: string | undefined, clone = false): Package {
  const dir = mkdtempSync(join(tmpdir(), 'svidgate-launcher-'));
  cpSync(join(root, 'bin'), join(dir, 'bin'), { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{"type": "module"}');
  if (program !== undefined) {
    mkdirSync(dirname(join(dir, program)), { recursive: true });
    writeFileSync(join(dir, program), PROGRAM);
  }
  if (clone) {
    mkdirSync(join(dir, 'tools/setup'), { recursive: true });
    writeFileSync(join(dir, 'tools/setup/setup.mjs'), '');
  }
  // As npm links it: the launcher must find its own place through the link.
  symlinkSync('bin/svidgate.mjs', join(dir, 'svidgate'));
  return { bin: join(dir, 'svidgate'), [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
}

/** A Node that cannot replace itself, as Node 20. */
const WITHOUT_EXECVE = { NODE_OPTIONS: '--import "data:text/javascript,delete process.execve"' };

/** A Node that says it is 20 when it starts. */
const OLD_NODE = {
  NODE_OPTIONS: `--import "data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.1.0'}})"`,
};

const WAYS: readonly { way: string; env: NodeJS.ProcessEnv }[] = [
  { way: 'by replacing itself', env: {} },
  { way: 'as a parent', env: WITHOUT_EXECVE },
];

describe('the launcher', () => {
  for (const { way, env } of WAYS) {
    const run = (pack: Package, ...args: string[]) =>
      spawnSync(process.execPath, [pack.bin, ...args], { encoding: 'utf8', env: { ...process.env, ...env } });

    it(`passes on arguments, exit code and signal ${way}`, () => {
      using pack = install('dist/cli/main.js');
      assert.equal(run(pack, 'arguments', '--config', 'a b').stdout, '["arguments","--config","a b"]\n');
      assert.equal(run(pack, 'exit', '0').status, 0);
      assert.equal(run(pack, 'exit', '2').status, 2);
      assert.equal(run(pack, 'die', 'SIGKILL').signal, 'SIGKILL');
    });

    it(`forbids code from strings and keeps the standard error clean ${way}`, () => {
      using pack = install('src/cli/main.ts');
      assert.equal(run(pack, 'eval').stdout, 'EvalError\n');
      assert.equal(run(pack, 'warn').stderr, '');
    });

    it(`hands a signal to the program ${way}`, async () => {
      using pack = install('dist/cli/main.js');
      const child = spawn(process.execPath, [pack.bin, 'wait'], { env: { ...process.env, ...env } });
      let output = '';
      for await (const chunk of child.stdout) {
        output += String(chunk);
        if (output === 'waiting\n') child.kill('SIGTERM');
      }
      assert.equal(output, 'waiting\nasked to end\n');
      const code = child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)));
      assert.equal(code, 5);
    });
  }

  const REFUSALS: readonly { what: string; make: () => Package; env: NodeJS.ProcessEnv; says: RegExp }[] = [
    {
      what: 'no Node 24 beside a package',
      make: () => install('dist/cli/main.js'),
      env: OLD_NODE,
      says: /^svidgate: needs Node 24 or newer: found 20\.1\.0\n$/,
    },
    {
      what: 'no Node 24 in a clone',
      make: () => install('src/cli/main.ts', true),
      env: OLD_NODE,
      says: /^svidgate: needs Node 24 or newer: found 20\.1\.0; run `npm run setup` in /,
    },
    {
      what: 'no packages in a clone',
      make: () => install('src/cli/main.ts', true),
      env: {},
      says: /^svidgate: its packages are not installed; run `npm run setup` in /,
    },
    { what: 'no program', make: () => install(undefined), env: {}, says: /^svidgate: .* holds no program/ },
  ];
  for (const { what, make, env, says } of REFUSALS) {
    it(`refuses with 2 when there is ${what}`, () => {
      using pack = make();
      const { status, stderr } = spawnSync(process.execPath, [pack.bin], {
        encoding: 'utf8',
        env: { ...process.env, ...env },
      });
      assert.match(stderr, says);
      assert.equal(status, 2);
    });
  }
});
